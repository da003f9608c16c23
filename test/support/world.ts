import { execFile } from 'node:child_process';
import { glob, mkdir, mkdtemp, readFile, readlink, rename, rm, writeFile } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { promisify } from 'node:util';
import { type Credentials, loadCredentials } from '../../certs/credentials.ts';
import { addCustomer, addGroup, createPki, issueDevice, issueGateway, issueOps, issueProvider } from '../../certs/pki-directory.ts';
import { settingsOf } from '../../cli/daemon.ts';
import { createKeys } from '../../provider/publish/ceremony.ts';
import { systemClock } from '../../shared/base/clock.ts';
import { silentLog } from '../../shared/base/log.ts';
import { OpsClient } from '../../shared/net/ops-client.ts';
import type { OpsResult } from '../../shared/wire/ops.ts';
import { Daemon } from './daemon.ts';
import { type Host, TestNetwork } from './netns.ts';
import { hashTree } from './tree.ts';

const run = promisify(execFile);
const root = path.resolve(import.meta.dirname, '../..');

/** Which sites there are: `{ acme: { north: { ct: ['ct-1', 'ct-2'], pump: ['pump-1'] } } }`. */
export type Plan = Readonly<Record<string, Readonly<Record<string, Readonly<Record<string, readonly string[]>>>>>>;

export interface SiteUnit {
  readonly customer: string;
  readonly site: string;
  readonly host: Host;
  readonly daemon: Daemon;
  readonly data: string;
  readonly credentials: string;
}

export interface DeviceUnit {
  readonly customer: string;
  readonly site: string;
  readonly group: string;
  readonly device: string;
  readonly host: Host;
  readonly daemon: Daemon;
  readonly data: string;
  readonly install: string;
  readonly credentials: string;
  readonly configuration: string;
}

export interface WorldOptions {
  readonly plan: Plan;
  readonly applications?: readonly string[];
  /** Mbit/s toward each gateway; absent: unshaped. */
  readonly lineMbit?: number;
  /** The test process sits on every LAN too, with address .254 of it. */
  readonly joinLan?: boolean;
  /** Gateways and agents tell their metrics at METRICS_PORT of their LAN address. */
  readonly metrics?: boolean;
}

/** Port of the provider's broker and of the gateways' LAN door: every host has its own address. */
const PROVIDER_PORT = 8883;
const LAN_PORT = 8883;
export const METRICS_PORT = 9100;

/**
 * A provider on a WAN segment, gateways with two interfaces, devices on bridged LANs without a default route: real processes, real TLS,
 * real mDNS. The test process itself sits on the WAN segment as ops.
 */
export class World {
  readonly directory: string;
  readonly provider: Daemon;
  readonly providerHost: Host;
  readonly sites = new Map<string, SiteUnit>();
  readonly devices = new Map<string, DeviceUnit>();
  readonly network: TestNetwork;
  readonly #clocks = new Map<string, NodeJS.ProcessEnv>();
  #ops: OpsClient | undefined;
  #releases = 0;
  #metrics = false;

  private constructor(directory: string, network: TestNetwork, providerHost: Host, provider: Daemon) {
    this.directory = directory;
    this.network = network;
    this.providerHost = providerHost;
    this.provider = provider;
  }

  static async create({ plan, applications = ['viewer', 'driver', 'tools'], lineMbit, joinLan = false, metrics = false }: WorldOptions): Promise<World> {
    const directory = await mkdtemp(path.join(os.tmpdir(), 'wardcast-e2e-'));
    const at = (...parts: string[]): string => path.join(directory, ...parts);
    const network = new TestNetwork();
    await network.network('wan', '10.99.0', { joinTest: true });
    const providerHost = await network.host('provider', ['wan']);
    const address = providerHost.addresses['wan'] ?? '';

    const pki = at('pki');
    await createPki({ directory: pki, trustDomain: 'vendor.example' });
    await createKeys({ directory: at('keys'), applications });
    await issueProvider({ directory: pki, name: 'vendor', dnsNames: ['provider.vendor.example'], ips: [address], out: at('provider', 'credentials') });
    await issueOps({ directory: pki, name: 'olga', out: at('ops') });

    const provider = new Daemon('provider', () =>
      providerHost.spawn(process.execPath, wordsOf('provider', at('provider', 'provider.toml')), { env: { ...process.env, ...settingsOf('provider').env } }),
    );
    await writeFile(
      at('provider', 'provider.toml'),
      toml(
        { data: 'data', credentials: 'credentials', trust: at('keys', 'metadata'), keys: at('keys', 'keys', 'online') },
        { listen: { host: address, port: PROVIDER_PORT } },
      ),
    );
    const world = new World(directory, network, providerHost, provider);
    world.#metrics = metrics;

    let lan = 0;
    for (const [customer, sites] of Object.entries(plan)) {
      await addCustomer({ directory: pki, customer });
      const groups = new Set(Object.values(sites).flatMap((site) => Object.keys(site)));
      for (const group of groups) await addGroup({ directory: pki, customer, group });
      for (const [site, members] of Object.entries(sites)) {
        const segment = `lan${lan}`;
        await network.network(segment, `10.${100 + lan++}.0`, { joinTest: joinLan });
        const unit = await world.#addSite(customer, site, segment, address);
        if (lineMbit !== undefined) await network.shape(unit.host, 'wan', lineMbit);
        for (const [group, devices] of Object.entries(members))
          for (const device of devices) await world.#addDevice({ customer, site, group, device }, segment);
      }
    }
    return world;
  }

  /** Starts everything and writes the customers, sites, groups and devices into the registry. */
  async start(): Promise<void> {
    await this.provider.start();
    await this.register();
    await Promise.all([...this.sites.values()].map((site) => site.daemon.start()));
    await Promise.all([...this.devices.values()].map((device) => device.daemon.start()));
  }

  async register(): Promise<void> {
    const ops = await this.ops();
    const known = new Set<string>();
    const once = async (key: string, add: () => Promise<unknown>): Promise<void> => {
      if (known.has(key)) return;
      known.add(key);
      await add();
    };
    for (const { customer, site } of this.sites.values()) {
      await once(customer, () => ops.call('customer.add', { customer }));
      await once(`${customer}/${site}`, () => ops.call('site.add', { customer, site }));
    }
    for (const { customer, site, group, device } of this.devices.values()) {
      await once(`${customer}//${group}`, () => ops.call('group.add', { customer, group }));
      await ops.call('device.add', { customer, site, group, device });
    }
  }

  async ops(): Promise<OpsClient> {
    this.#ops ??= await OpsClient.connect({
      host: this.providerHost.addresses['wan'] ?? '',
      port: PROVIDER_PORT,
      credentials: await this.credentials('ops'),
      log: silentLog,
      clock: systemClock,
    });
    return this.#ops;
  }

  credentials(folder: string): Promise<Credentials> {
    return loadCredentials(path.isAbsolute(folder) ? folder : path.join(this.directory, folder), systemClock);
  }

  /** The command line as ops use it; the result of `--json`. */
  async wardcast(...args: string[]): Promise<unknown> {
    const connection = ['--provider', `${this.providerHost.addresses['wan'] ?? ''}:${PROVIDER_PORT}`, '--credentials', path.join(this.directory, 'ops')];
    return this.offline(...args, ...connection);
  }

  /** A command that needs no provider. */
  async offline(...args: string[]): Promise<unknown> {
    const words = [path.join(root, 'cli/wardcast.mjs'), ...args, '--json'];
    const { stdout } = await run(process.execPath, words, { maxBuffer: 1 << 26 }).catch((error: Error & { stdout?: string; stderr?: string }) => {
      throw new Error(`wardcast ${args.join(' ')}: ${error.stdout} ${error.stderr}`, { cause: error });
    });
    return JSON.parse(stdout);
  }

  /** Signs and publishes a release made of `files`; modes: a name that ends in .sh is executable. Returns its folder. */
  async publish(
    application: string,
    version: string,
    files: Readonly<Record<string, string | Buffer>>,
    options: { hooks?: readonly string[] } = {},
  ): Promise<string> {
    const tree = path.join(this.directory, 'trees', `${application}-${version}-${this.#releases++}`);
    for (const [name, content] of Object.entries(files)) {
      await mkdir(path.dirname(path.join(tree, name)), { recursive: true });
      await writeFile(path.join(tree, name), content, { mode: name.endsWith('.sh') ? 0o755 : 0o644 });
    }
    const workspace = path.join(this.directory, 'workspace');
    const keys = path.join(this.directory, 'keys');
    await this.offline('release', 'sign', tree, `${application}@${version}`, '--keys', keys, '--workspace', workspace, ...(options.hooks ?? []));
    await this.wardcast('release', 'publish', `${application}@${version}`, '--workspace', workspace);
    return tree;
  }

  async setCurrent(
    customer: string,
    group: string,
    application: string,
    version: string | null,
    options: { site?: string; allowDowngrade?: boolean } = {},
  ): Promise<void> {
    await this.until('the provider answers', async () =>
      (await this.ops()).call('customer.list', {}).then(
        () => true,
        () => false,
      ),
    );
    const ops = await this.ops();
    await ops.call('current.set', { customer, group, site: options.site ?? null, application, version, allowDowngrade: options.allowDowngrade ?? false });
  }

  async status(): Promise<OpsResult<'status'>> {
    return (await this.ops()).call('status', {});
  }

  /** Waits until the database says so; the guard only ends a hang. */
  async until(what: string, holds: (status: OpsResult<'status'>) => boolean | Promise<boolean>, timeoutMs = 120_000): Promise<void> {
    const deadline = Date.now() + timeoutMs;
    for (;;) {
      // The provider itself may be down or restarting at this moment.
      const status = await this.status().catch(() => ({ devices: [], sites: [], bundles: [], alarms: [], clocks: [] }));
      if (await holds(status)) return;
      if (Date.now() > deadline)
        throw new Error(
          `never: ${what}\n${JSON.stringify(status.devices, null, 1)}\n${[...this.sites.values(), ...this.devices.values()].map((unit) => `${unit.daemon.name}\n${unit.daemon.tail(8)}`).join('\n')}`,
        );
      await systemClock.sleep(100);
    }
  }

  async untilUpToDate(timeoutMs?: number): Promise<void> {
    await this.until('every device up to date', (status) => status.devices.length > 0 && status.devices.every((row) => row.state === 'up-to-date'), timeoutMs);
  }

  /** What a device really runs: read from its disk, every file compared with the tree it was signed from. */
  async installed(device: DeviceUnit, application: string): Promise<{ version: string; files: Map<string, string> } | undefined> {
    const current = path.join(device.install, application, 'current');
    const release = await readlink(current).catch(() => undefined);
    if (release === undefined) return undefined;
    const directory = path.resolve(path.dirname(current), release);
    const version = (await readFile(path.join(directory, 'VERSION'), 'utf8')).trim();
    return { version, files: await hashTree(directory) };
  }

  device(name: string): DeviceUnit {
    const device = this.devices.get(name);
    if (device === undefined) throw new Error(`no device ${name}`);
    return device;
  }

  site(name: string): SiteUnit {
    const site = this.sites.get(name);
    if (site === undefined) throw new Error(`no site ${name}`);
    return site;
  }

  async close(): Promise<void> {
    await this.#ops?.close();
    for (const unit of [...this.devices.values(), ...this.sites.values()]) await unit.daemon.kill();
    await this.provider.kill();
    await this.network.close();
    await rm(this.directory, { recursive: true, force: true });
  }

  /**
   * Sets the wall clock of a device or gateway (`gw-<site>`) by libfaketime: an offset such as `-56y`. Before its daemon starts; from then on at any time, as a jump.
   * Its monotonic clock goes on as it is.
   */
  async setClock(host: string, offset: string): Promise<void> {
    let library: string | undefined;
    for await (const found of glob('/usr/lib/*/faketime/libfaketimeMT.so.1')) library = found;
    if (library === undefined) throw new Error('libfaketime is missing: call ensurePrograms([faketime]) first');
    const file = path.join(this.directory, `${host}.clock`);
    // Renamed, so that no reader sees an empty file.
    await writeFile(`${file}.new`, `${offset}\n`);
    await rename(`${file}.new`, file);
    this.#clocks.set(host, {
      LD_PRELOAD: library,
      FAKETIME_TIMESTAMP_FILE: file,
      FAKETIME_CACHE_DURATION: '1',
      FAKETIME_DONT_FAKE_MONOTONIC: '1',
      NO_FAKE_STAT: '1',
    });
  }

  #environment(daemon: 'gateway' | 'agent', host: string): NodeJS.ProcessEnv {
    return { ...process.env, ...settingsOf(daemon).env, ...this.#clocks.get(host) };
  }

  async #addSite(customer: string, site: string, segment: string, provider: string): Promise<SiteUnit> {
    const name = `gw-${site}`;
    const host = await this.network.host(name, ['wan', segment]);
    const folder = path.join(this.directory, name);
    await mkdir(folder);
    const credentials = path.join(folder, 'credentials');
    await issueGateway({ directory: path.join(this.directory, 'pki'), customer, site, gateway: 'gw', out: credentials });
    await writeFile(
      path.join(folder, 'gateway.toml'),
      toml(
        { data: 'data', credentials: 'credentials', root: path.join(this.directory, 'keys', 'metadata', '1.root.json') },
        {
          uplink: { host: provider, port: PROVIDER_PORT, server_name: 'provider.vendor.example' },
          lan: { host: host.addresses[segment] ?? '', port: LAN_PORT, interface: host.addresses[segment] ?? '' },
          ...this.#metricsAt(host, segment),
        },
      ),
    );
    const daemon = new Daemon(name, () =>
      host.spawn(process.execPath, wordsOf('gateway', path.join(folder, 'gateway.toml')), { env: this.#environment('gateway', name) }),
    );
    const unit: SiteUnit = { customer, site, host, daemon, data: path.join(folder, 'data'), credentials };
    this.sites.set(site, unit);
    return unit;
  }

  #metricsAt(host: Host, segment: string): Record<string, Record<string, string | number>> {
    return this.#metrics ? { metrics: { host: host.addresses[segment] ?? '', port: METRICS_PORT } } : {};
  }

  async #addDevice(id: { customer: string; site: string; group: string; device: string }, segment: string): Promise<void> {
    const host = await this.network.host(id.device, [segment]);
    const folder = path.join(this.directory, id.device);
    await mkdir(folder);
    const credentials = path.join(folder, 'credentials');
    await issueDevice({ directory: path.join(this.directory, 'pki'), ...id, out: credentials });
    const install = path.join(folder, 'install');
    const configuration = path.join(folder, 'agent.toml');
    await writeFile(
      configuration,
      toml(
        { data: 'data', credentials: 'credentials', root: path.join(this.directory, 'keys', 'metadata', '1.root.json') },
        {
          lan: { host: host.addresses[segment] ?? '', port: 0, interface: host.addresses[segment] ?? '' },
          install: { directory: 'install' },
          ...this.#metricsAt(host, segment),
        },
      ),
    );
    const daemon = new Daemon(id.device, () => host.spawn(process.execPath, wordsOf('agent', configuration), { env: this.#environment('agent', id.device) }));
    this.devices.set(id.device, { ...id, host, daemon, data: path.join(folder, 'data'), install, credentials, configuration });
  }
}

/** As `wardcast … run` starts it, but for the bundle: sources that were just changed are what a test is about. */
function wordsOf(daemon: 'provider' | 'gateway' | 'agent', configuration: string): string[] {
  return [...settingsOf(daemon).flags, path.join(root, daemon, 'main.ts'), '--config', configuration];
}

function toml(values: Record<string, string | number>, tables: Record<string, Record<string, string | number>>): string {
  const lines = (table: Record<string, string | number>): string[] => Object.entries(table).map(([key, value]) => `${key} = ${JSON.stringify(value)}`);
  return [...lines(values), ...Object.entries(tables).flatMap(([name, table]) => ['', `[${name}]`, ...lines(table)]), ''].join('\n');
}
