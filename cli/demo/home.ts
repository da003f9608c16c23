import { copyFile, cp, mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { addCustomer, addGroup, createPki, issueDevice, issueGateway, issueOps, issueProvider } from '../../certs/pki-directory.ts';
import { ceremonyLayout, createKeys } from '../../provider/publish/ceremony.ts';
import { CUSTOMERS, DEVICES, type DemoDevice, type DemoSite, GROUPS, SITES } from './cast.ts';

/** The loopback address: everything of the demo, mDNS too, stays on it. */
export const LOOPBACK = '127.0.0.1';
/** Address of the loopback interface for multicast. */
const INTERFACE = LOOPBACK;

/** The temporary folder of one demo and what lies where in it. */
export class Home {
  readonly directory: string;

  private constructor(directory: string) {
    this.directory = directory;
  }

  static async make(): Promise<Home> {
    const home = new Home(await mkdtemp(path.join(tmpdir(), 'wardcast-demo-')));
    await mkdir(home.logs);
    await mkdir(home.thief);
    return home;
  }

  async remove(): Promise<void> {
    await rm(this.directory, { recursive: true, force: true, maxRetries: 3 });
  }

  get logs(): string {
    return path.join(this.directory, 'logs');
  }
  get pki(): string {
    return path.join(this.directory, 'vendor', 'pki');
  }
  get keys(): string {
    return path.join(this.directory, 'vendor', 'keys');
  }
  get workspace(): string {
    return path.join(this.directory, 'vendor', 'workspace');
  }
  get ops(): string {
    return path.join(this.directory, 'ops');
  }
  get thief(): string {
    return path.join(this.directory, 'thief');
  }
  get provider(): string {
    return path.join(this.directory, 'provider');
  }
  gateway({ customer, site }: DemoSite): string {
    return path.join(this.directory, 'gateways', customer, site);
  }
  device({ customer, site, device }: DemoDevice): string {
    return path.join(this.directory, 'devices', customer, site, device);
  }
  /** Where a device's applications are installed. */
  installed(device: DemoDevice): string {
    return path.join(this.device(device), 'apps');
  }
  credentials(folder: string): string {
    return path.join(folder, 'credentials');
  }
  releaseKey(application: string): string {
    return path.join(ceremonyLayout(this.keys).offline, `release-${application}.pem`);
  }
  get factoryRoot(): string {
    return path.join(ceremonyLayout(this.keys).metadata, '1.root.json');
  }

  /** The offline part: CAs, certificates, signing keys. As many keys at once as there are cores to make them. */
  async ceremony(applications: readonly string[]): Promise<{ certificates: number }> {
    const directory = this.pki;
    const keys = createKeys({ directory: this.keys, applications });
    await createPki({ directory, trustDomain: 'vendor.example' });
    await Promise.all(CUSTOMERS.map(({ customer }) => addCustomer({ directory, customer })));
    await Promise.all([
      ...CUSTOMERS.flatMap(({ customer }) => GROUPS.map(({ group }) => addGroup({ directory, customer, group }))),
      issueProvider({ directory, name: 'vendor', dnsNames: ['localhost'], ips: [LOOPBACK], out: this.credentials(this.provider) }),
      issueOps({ directory, name: 'demo', out: this.ops }),
      ...SITES.map((site) => issueGateway({ directory, ...site, gateway: 'gateway', ips: [LOOPBACK], out: this.credentials(this.gateway(site)) })),
    ]);
    await Promise.all(DEVICES.map((device) => issueDevice({ directory, ...device, out: this.credentials(this.device(device)) })));
    await keys;
    return { certificates: 3 + CUSTOMERS.length * (1 + GROUPS.length) + 2 + SITES.length + DEVICES.length };
  }

  /** Each machine gets its own part and no more: the release keys stay with the vendor's offline side. */
  async settleProvider(): Promise<string> {
    const { online, metadata } = ceremonyLayout(this.keys);
    await Promise.all([
      cp(online, path.join(this.provider, 'keys'), { recursive: true }),
      cp(metadata, path.join(this.provider, 'trust'), { recursive: true }),
    ]);
    return this.#write(this.provider, 'provider.toml', [
      'data = "data"',
      'credentials = "credentials"',
      'trust = "trust"',
      'keys = "keys"',
      '[listen]',
      `host = "${LOOPBACK}"`,
      'port = 0',
    ]);
  }

  async settleGateway(site: DemoSite, uplink: number): Promise<string> {
    const folder = this.gateway(site);
    await copyFile(this.factoryRoot, path.join(folder, 'root.json'));
    return this.#write(folder, 'gateway.toml', [
      'data = "data"',
      'credentials = "credentials"',
      'root = "root.json"',
      '[uplink]',
      `host = "${LOOPBACK}"`,
      `port = ${uplink}`,
      '[lan]',
      `host = "${LOOPBACK}"`,
      'port = 0',
      `interface = "${INTERFACE}"`,
      '[retention]',
      'budget_mib = 512',
    ]);
  }

  async settleDevice(device: DemoDevice): Promise<string> {
    const folder = this.device(device);
    await copyFile(this.factoryRoot, path.join(folder, 'root.json'));
    return this.#write(folder, 'agent.toml', [
      'data = "data"',
      'credentials = "credentials"',
      'root = "root.json"',
      '[lan]',
      `host = "${LOOPBACK}"`,
      'port = 0',
      `interface = "${INTERFACE}"`,
      '[install]',
      'directory = "apps"',
    ]);
  }

  async #write(folder: string, name: string, lines: readonly string[]): Promise<string> {
    const file = path.join(folder, name);
    await writeFile(file, `${lines.join('\n')}\n`);
    return file;
  }
}
