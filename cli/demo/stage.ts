import type { OpsClient } from '../../shared/net/ops-client.ts';
import { connectOps } from '../ops.ts';
import { CUSTOMERS, DEVICES, type DemoDevice, type DemoSite, deviceName, FIRST, GROUPS, SITES, siteName } from './cast.ts';
import { Home, LOOPBACK } from './home.ts';
import { Household, type Inhabitant } from './household.ts';
import { Line } from './line.ts';
import type { Narrator } from './narrator.ts';
import { RegistryView } from './registry-view.ts';
import { Signed } from './versions.ts';

/** Bytes per second of each site's line: 100 Mbit/s. */
const LINE_RATE = 12_500_000;

/** Everything that runs during the demo. Set up in order, torn down whatever happens. */
export class Stage {
  readonly home: Home;
  readonly narrator: Narrator;
  readonly signal: AbortSignal;
  readonly household: Household;
  readonly signed: Signed;
  readonly #lines = new Map<string, Line>();
  /** Ends what listens to the provider before the provider ends. */
  readonly #quiet = new AbortController();
  #ops: OpsClient | undefined;
  #view: RegistryView | undefined;

  private constructor(home: Home, narrator: Narrator, signal: AbortSignal) {
    this.home = home;
    this.narrator = narrator;
    this.signal = signal;
    this.household = new Household(home.logs);
    this.signed = new Signed(home.workspace);
  }

  static async open(narrator: Narrator, signal: AbortSignal): Promise<Stage> {
    return new Stage(await Home.make(), narrator, signal);
  }

  get ops(): OpsClient {
    if (this.#ops === undefined) throw new Error('The provider does not run yet');
    return this.#ops;
  }

  get view(): RegistryView {
    if (this.#view === undefined) throw new Error('The provider does not run yet');
    return this.#view;
  }

  line(site: DemoSite): Line {
    const line = this.#lines.get(siteName(site));
    if (line === undefined) throw new Error(`${siteName(site)} has no line yet`);
    return line;
  }

  provider(): Inhabitant {
    return this.household.get('provider');
  }
  gateway(site: DemoSite): Inhabitant {
    return this.household.get(`gateway ${siteName(site)}`);
  }
  agent(device: DemoDevice): Inhabitant {
    return this.household.get(`agent ${deviceName(device)}`);
  }

  async ceremony(): Promise<{ certificates: number }> {
    return this.home.ceremony(FIRST.map(({ application }) => application));
  }

  /** The provider alone, and an ops client at its broker. */
  async startProvider(): Promise<void> {
    const provider = this.household.add('provider', 'provider', await this.home.settleProvider());
    await provider.start(this.signal);
    this.#ops = await connectOps({ host: LOOPBACK, port: provider.port, credentials: this.home.ops }, this.signal);
    this.#view = new RegistryView(this.#ops, AbortSignal.any([this.signal, this.#quiet.signal]));
  }

  async register(): Promise<void> {
    const { ops } = this;
    for (const customer of CUSTOMERS) {
      await ops.call('customer.add', customer);
      for (const group of GROUPS) await ops.call('group.add', { customer: customer.customer, ...group });
    }
    for (const site of SITES) await ops.call('site.add', site);
    for (const device of DEVICES) await ops.call('device.add', device);
  }

  /** Gateways, each behind a line of its own, and all agents. */
  async startSites(): Promise<void> {
    await Promise.all(
      SITES.map(async (site) => {
        const line = await Line.open({ target: { host: LOOPBACK, port: this.provider().port }, rate: LINE_RATE });
        this.#lines.set(siteName(site), line);
        const config = await this.home.settleGateway(site, line.port);
        await this.household.add(`gateway ${siteName(site)}`, 'gateway', config).start(this.signal);
      }),
    );
    await Promise.all(
      DEVICES.map(async (device) => {
        const config = await this.home.settleDevice(device);
        await this.household.add(`agent ${deviceName(device)}`, 'agent', config).start(this.signal);
      }),
    );
  }

  /** Ends every process and connection; removes the folder unless it is to be kept. */
  async close(options: { keep: boolean }): Promise<void> {
    this.#quiet.abort();
    await this.#ops?.close().catch(() => undefined);
    await this.household.end();
    await Promise.all([...this.#lines.values()].map((line) => line.close()));
    if (!options.keep) await this.home.remove();
  }
}
