import { WardcastError } from '../../shared/base/errors.ts';
import type { OpsClient } from '../../shared/net/ops-client.ts';
import type { EventBody, OpsResult } from '../../shared/wire/ops.ts';
import { type DemoDevice, type DemoSite, deviceName, entitled, siteName } from './cast.ts';
import type { DeviceFigure } from './report.ts';

type StatusRow = OpsResult<'status'>['devices'][number];
type Progress = EventBody<'progress'>;

/** Milliseconds between looks at the registry when no event says that something changed; events are lossy. */
const LOOK_AGAIN = 1000;

/** The provider's database as the demo watches it: told of changes by events, asked for the truth. */
export class RegistryView {
  readonly #ops: OpsClient;
  readonly #signal: AbortSignal;
  readonly #progress = new Set<(event: Progress) => void>();
  #wake: (() => void) | undefined;

  constructor(ops: OpsClient, signal: AbortSignal) {
    this.#ops = ops;
    this.#signal = signal;
    void this.#listen();
  }

  onProgress(listener: (event: Progress) => void): () => void {
    this.#progress.add(listener);
    return () => this.#progress.delete(listener);
  }

  async rows(): Promise<readonly StatusRow[]> {
    return (await this.#ops.call('status', {})).devices;
  }

  /** What a site's gateway and its devices say, in sum. */
  async sites(): Promise<OpsResult<'status'>['sites']> {
    return (await this.#ops.call('status', {})).sites;
  }

  /** Every release that the device has installed, and where it had its bytes from. */
  async installations({ customer, device }: DemoDevice): Promise<OpsResult<'trace.device'>['installations']> {
    return (await this.#ops.call('trace.device', { customer, device })).installations;
  }

  async connectedSites(): Promise<ReadonlySet<string>> {
    return new Set((await this.#ops.call('status', {})).sites.filter((site) => site.connected).map(siteName));
  }

  /** Expected and confirmed version of every application of these devices. */
  async figures(devices: readonly DemoDevice[], versions: ReadonlyMap<string, string>): Promise<DeviceFigure[]> {
    const rows = await this.rows();
    return devices.flatMap((device) =>
      entitled(device.group).map((application) => {
        const row = rows.find((one) => one.customer === device.customer && one.device === device.device && one.application === application);
        return { ...device, application, expected: versions.get(application) ?? '', confirmed: row?.customerVersion ?? null };
      }),
    );
  }

  /** Waits until every application of these devices that `versions` names is confirmed in that version. @throws TIMEOUT naming who lags behind */
  async confirmed(devices: readonly DemoDevice[], versions: ReadonlyMap<string, string>, timeout: number): Promise<void> {
    const lagging = async (): Promise<DeviceFigure[]> =>
      (await this.figures(devices, versions)).filter((figure) => versions.has(figure.application) && figure.confirmed !== figure.expected);
    await this.#until(
      async () => (await lagging()).length === 0,
      timeout,
      async () => {
        const rows = await this.rows();
        const who = (await lagging()).map((figure) => {
          const reason = rows.find((row) => row.customer === figure.customer && row.device === figure.device && row.application === figure.application)?.reason;
          return `${deviceName(figure)} ${figure.application} ${figure.confirmed ?? '(nothing)'} instead of ${figure.expected}${reason ? ` (${reason})` : ''}`;
        });
        return `not confirmed: ${who.join(', ')}`;
      },
    );
  }

  async connected(sites: readonly DemoSite[], timeout: number): Promise<void> {
    const away = async (): Promise<string[]> => {
      const connected = await this.connectedSites();
      return sites.map(siteName).filter((name) => !connected.has(name));
    };
    await this.#until(
      async () => (await away()).length === 0,
      timeout,
      async () => `not connected: ${(await away()).join(', ')}`,
    );
  }

  async disconnected(site: DemoSite, timeout: number): Promise<void> {
    await this.#until(
      async () => !(await this.connectedSites()).has(siteName(site)),
      timeout,
      async () => `${siteName(site)} is still connected`,
    );
  }

  async #until(holds: () => Promise<boolean>, timeout: number, why: () => Promise<string>): Promise<void> {
    const end = performance.now() + timeout;
    while (!(await holds())) {
      this.#signal.throwIfAborted();
      if (performance.now() > end) {
        throw new WardcastError('TIMEOUT', `After ${timeout / 1000} s ${await why()}`, { remedy: 'Run the demo with --keep and look into the logs it names.' });
      }
      await this.#change();
    }
  }

  #change(): Promise<void> {
    return new Promise((resolve) => {
      const done = (): void => {
        clearTimeout(timer);
        this.#signal.removeEventListener('abort', done);
        this.#wake = undefined;
        // A little patience: confirmations come in bursts.
        setTimeout(resolve, 30);
      };
      const timer = setTimeout(done, LOOK_AGAIN);
      this.#wake = done;
      this.#signal.addEventListener('abort', done, { once: true });
    });
  }

  async #listen(): Promise<void> {
    try {
      for await (const event of this.#ops.events({ signal: this.#signal })) {
        if (event.type === 'progress') for (const listener of this.#progress) listener(event.body);
        else this.#wake?.();
      }
    } catch (error) {
      // Without events the view still looks again every second; the calls themselves report a lost connection.
      if (!this.#signal.aborted) this.#wake?.();
      void error;
    }
  }
}
