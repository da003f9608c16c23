import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { onTestFinished } from 'vitest';
import { type Credentials, loadCredentials } from '../../certs/credentials.ts';
import { seal } from '../../certs/envelope.ts';
import { addCustomer, addGroup, createPki, issueDevice, issueGateway, issueProvider } from '../../certs/pki-directory.ts';
import { Line } from '../../cli/demo/line.ts';
import type { GatewayConfig } from '../../gateway/config.ts';
import { type Gateway, startGateway } from '../../gateway/gateway.ts';
import { systemClock } from '../../shared/base/clock.ts';
import type { DeviceIdentity, Identity, Scope } from '../../shared/base/identity.ts';
import { type Log, silentLog } from '../../shared/base/log.ts';
import type { Link } from '../../shared/net/broker.ts';
import { HttpsChunkSource } from '../../shared/net/chunk-client.ts';
import type { Discovery } from '../../shared/net/discovery.ts';
import { openLink } from '../../shared/net/link.ts';
import type { Statement } from '../../shared/wire/messages.ts';
import { ScriptedProvider } from './scripted-provider.ts';

export const ct: Scope = { customer: 'acme', site: 'north', group: 'ct' };
export const pump: Scope = { ...ct, group: 'pump' };

/** Certificates take seconds to make: one PKI serves a whole test file. */
export interface TestPki {
  readonly directory: string;
  readonly provider: string;
  readonly gateway: string;
  device(name: keyof typeof DEVICES): Promise<Credentials>;
  remove(): Promise<void>;
}

const DEVICES = {
  'ct-1': { ...ct, device: 'ct-1' },
  'ct-2': { ...ct, device: 'ct-2' },
  'pump-1': { ...pump, device: 'pump-1' },
  /** Same customer and group, another site. */
  'south-ct-1': { ...ct, site: 'south', device: 'south-ct-1' },
  /** Another customer that has a group of the same name. */
  'globex-ct-1': { ...ct, customer: 'globex', device: 'globex-ct-1' },
} as const;

export async function createTestPki(): Promise<TestPki> {
  const directory = await mkdtemp(join(tmpdir(), 'wardcast-pki-'));
  const pki = join(directory, 'pki');
  const out = (name: string): string => join(directory, 'credentials', name);
  await createPki({ directory: pki, trustDomain: 'vendor.example' });
  await Promise.all(['acme', 'globex'].map((customer) => addCustomer({ directory: pki, customer })));
  await Promise.all([
    addGroup({ directory: pki, customer: 'acme', group: 'ct' }),
    addGroup({ directory: pki, customer: 'acme', group: 'pump' }),
    addGroup({ directory: pki, customer: 'globex', group: 'ct' }),
  ]);
  await Promise.all([
    issueProvider({ directory: pki, name: 'vendor', dnsNames: ['localhost'], ips: ['127.0.0.1'], out: out('provider') }),
    issueGateway({ directory: pki, customer: 'acme', site: 'north', gateway: 'gw', out: out('gateway') }),
    ...Object.values(DEVICES).map((device) => issueDevice({ directory: pki, ...device, out: out(device.device) })),
  ]);
  return {
    directory,
    provider: out('provider'),
    gateway: out('gateway'),
    device: (name) => loadCredentials(out(name), systemClock),
    remove: () => rm(directory, { recursive: true, force: true }),
  };
}

export interface TestSite {
  readonly provider: ScriptedProvider;
  readonly line: Line;
  readonly data: string;
  readonly config: GatewayConfig;
  /** Starts a gateway in this process; stopped when the test is over. */
  start(options?: { log?: Log; discovery?: Discovery; budgetMib?: number; metrics?: GatewayConfig['metrics']; lineMbit?: number }): Promise<Gateway>;
  /** gateway.toml for a process of its own. */
  writeConfig(): Promise<string>;
}

/** A provider, a line and the place for one gateway. */
export async function createTestSite(pki: TestPki, options: { applications?: readonly string[]; rate?: number; delay?: number } = {}): Promise<TestSite> {
  const directory = await mkdtemp(join(tmpdir(), 'wardcast-site-'));
  const provider = await ScriptedProvider.start({ credentials: pki.provider, applications: options.applications ?? ['viewer', 'driver', 'tools'] });
  const line = await Line.open({
    target: { host: '127.0.0.1', port: provider.port },
    ...(options.rate === undefined ? {} : { rate: options.rate }),
    ...(options.delay === undefined ? {} : { delay: options.delay }),
  });
  onTestFinished(async () => {
    await line.close();
    await provider.close();
    await rm(directory, { recursive: true, force: true });
  });
  const root = join(directory, 'root.json');
  await writeFile(root, provider.rootMetadata);
  const data = join(directory, 'data');
  const config: GatewayConfig = {
    data,
    credentials: pki.gateway,
    root,
    uplink: { host: '127.0.0.1', port: line.port, limit: { windows: [] } },
    lan: { host: '127.0.0.1', port: 0, limit: { windows: [] } },
    retention: { budget_mib: 1024 },
    log: { level: 'info' },
  };
  return {
    provider,
    line,
    data,
    config,
    start: async ({ log = silentLog, discovery, budgetMib = 1024, metrics, lineMbit } = {}) => {
      const gateway = await startGateway({
        config: {
          ...config,
          uplink: { ...config.uplink, limit: { windows: [], ...(lineMbit === undefined ? {} : { mbit: lineMbit }) } },
          metrics,
          retention: { budget_mib: budgetMib },
        },
        version: '1.0.0',
        clock: systemClock,
        log,
        random: () => 0.1,
        ...(discovery === undefined ? {} : { discovery }),
      });
      onTestFinished(() => gateway.close());
      return gateway;
    },
    writeConfig: async () => {
      const file = join(directory, 'gateway.toml');
      const text = [
        `data = ${JSON.stringify(data)}`,
        `credentials = ${JSON.stringify(pki.gateway)}`,
        `root = ${JSON.stringify(root)}`,
        '[uplink]',
        'host = "127.0.0.1"',
        `port = ${line.port}`,
        '[lan]',
        'host = "127.0.0.1"',
        'port = 0',
        '',
      ];
      await writeFile(file, text.join('\n'));
      return file;
    },
  };
}

const isGateway = (identity: Identity): boolean => identity.role === 'gateway';

/** A device's connection to the gateway's broker; closed when the test is over. */
export function deviceLink(port: number, credentials: Credentials, log: Log = silentLog): Link {
  const link = openLink({ host: '127.0.0.1', port, credentials, expect: isGateway, log, clock: systemClock });
  onTestFinished(() => link.close());
  return link;
}

/** A device's way to the gateway's chunk server. */
export function chunkSource(port: number, credentials: Credentials, scope: Scope): HttpsChunkSource {
  const source = new HttpsChunkSource({ host: '127.0.0.1', port, credentials, expect: isGateway, scope, log: silentLog, clock: systemClock });
  onTestFinished(() => source.close());
  return source;
}

export function untilUp(link: Link): Promise<void> {
  return new Promise((resolve) => {
    if (link.state === 'up') resolve();
    else link.onState((state) => state === 'up' && resolve());
  });
}

export function deviceOf({ identity }: Credentials): DeviceIdentity {
  if (identity.role !== 'device') throw new Error('no device');
  return identity;
}

/** A signed statement as an agent makes it. */
export function statementOf(credentials: Credentials, counter: number, at = new Date()): { statement: Statement; bytes: Buffer } {
  const { customer, site, group, device } = deviceOf(credentials);
  const statement: Statement = { type: 'inventory', customer, site, group, device, counter, at: at.toISOString(), agent: '1.0.0', applications: [] };
  return { statement, bytes: Buffer.from(JSON.stringify(seal(Buffer.from(JSON.stringify(statement)), credentials))) };
}
