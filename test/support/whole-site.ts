import { glob, mkdtemp, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type Gateway, startGateway } from '../../gateway/gateway.ts';
import type { Provider } from '../../provider/provider.ts';
import { systemClock } from '../../shared/base/clock.ts';
import { Operator, type SignedFiles, type Vendor } from '../provider/provider-rig.ts';
import { DeviceRig } from './device-rig.ts';
import { RecordingLog } from './recording-log.ts';

/** Provider, gateway and agents themselves, in one process: acme/north with the groups ct (ct-1, ct-2 registered) and pumps (pump-1). */
export class WholeSite {
  readonly data: string;
  readonly provider: Provider;
  readonly gateway: Gateway;
  readonly ops: Operator;
  readonly log: RecordingLog;
  readonly #vendor: Vendor;
  readonly #closing: (() => Promise<unknown>)[];

  private constructor(o: {
    data: string;
    provider: Provider;
    gateway: Gateway;
    ops: Operator;
    log: RecordingLog;
    vendor: Vendor;
    closing: (() => Promise<unknown>)[];
  }) {
    this.data = o.data;
    this.provider = o.provider;
    this.gateway = o.gateway;
    this.ops = o.ops;
    this.log = o.log;
    this.#vendor = o.vendor;
    this.#closing = o.closing;
  }

  /** @param closing gets what is to be called at the end, in reverse */
  static async open(vendor: Vendor, closing: (() => Promise<unknown>)[], { patches = false } = {}): Promise<WholeSite> {
    const data = await mkdtemp(join(tmpdir(), 'wardcast-site-'));
    closing.push(() => rm(data, { recursive: true, force: true }));
    const log = new RecordingLog();
    const provider = await vendor.inProcess(join(data, 'provider'), log, undefined, patches);
    closing.push(() => provider.close());
    const ops = await new Operator(vendor.credentials('ops'), provider.port).up();
    closing.push(() => ops.close());
    await ops.founded();
    await ops.call('device.add', { customer: 'acme', site: 'north', group: 'pumps', device: 'pump-1' });
    const root = join(data, 'root.json');
    await writeFile(root, await readFile(join(vendor.layout.metadata, '1.root.json')));
    const gateway = await startGateway({
      config: {
        data: join(data, 'gateway'),
        credentials: join(vendor.directory, 'credentials', 'gateway'),
        root,
        uplink: { host: '127.0.0.1', port: provider.port, limit: { windows: [] } },
        lan: { host: '127.0.0.1', port: 0, limit: { windows: [] } },
        retention: { budget_mib: 1024 },
        log: { level: 'info' },
      },
      version: '1.0.0',
      clock: systemClock,
      log,
    });
    closing.push(() => gateway.close());
    return new WholeSite({ data, provider, gateway, ops, log, vendor, closing });
  }

  async agent(device: string): Promise<DeviceRig> {
    const root = await readFile(join(this.#vendor.layout.metadata, '1.root.json'));
    const credentials = (name: string): string => join(this.#vendor.directory, 'credentials', name);
    const rig = await DeviceRig.create({ root, credentials }, device, join(this.data, device), `127.0.0.1:${this.gateway.port}`);
    await rig.start();
    this.#closing.push(() => rig.stop());
    return rig;
  }

  /** Publishes a release of `viewer` and makes it current for the group ct. */
  async publish(release: SignedFiles): Promise<void> {
    await this.ops.publishRelease(release);
    await this.ops.call('current.set', { customer: 'acme', group: 'ct', site: null, application: 'viewer', version: release.version, allowDowngrade: false });
  }
}

/** Resolves when the device has installed that version of anything. */
export function installed(rig: DeviceRig, version: string): Promise<unknown> {
  return rig.log.seen('install.concluded', (line) => line['version'] === version && line['result'] === 'installed');
}

/** Every file below a folder, with its content. */
export async function* filesOf(folder: string): AsyncGenerator<[string, Buffer]> {
  for await (const name of glob('**/*', { cwd: folder })) {
    const file = join(folder, name);
    if ((await stat(file)).isFile()) yield [name, await readFile(file)];
  }
}
