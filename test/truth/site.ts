import type { Credentials } from '../../certs/credentials.ts';
import { Forwarder } from '../../gateway/outbox/forwarder.ts';
import { keyOf, outdated, ownerOf, statementKey } from '../../gateway/outbox/statements.ts';
import { type Clock, momentOf } from '../../shared/base/clock.ts';
import type { DeviceIdentity } from '../../shared/base/identity.ts';
import { MAX_OUTBOX_PER_DEVICE } from '../../shared/base/limits.ts';
import type { Log } from '../../shared/base/log.ts';
import { openReceipts } from '../../shared/net/receipts.ts';
import { Outbox } from '../../shared/store/outbox.ts';
import { openState, type State } from '../../shared/store/state.ts';

export interface SiteOptions {
  readonly credentials: Credentials;
  readonly directory: string;
  readonly clock: Clock;
  readonly log: Log;
  readonly toProvider: (bytes: Buffer) => void;
  readonly toDevice: (device: string, bytes: Buffer) => void;
}

/** The gateway as far as statements and receipts pass through it: its real outbox and forwarder on a real disk. */
export class Site {
  readonly #o: SiteOptions;
  readonly #state: State;
  readonly #forwarder: Forwarder;
  readonly #running: Promise<void>;
  dead = false;

  private constructor(o: SiteOptions, state: State, outbox: Outbox) {
    this.#o = o;
    this.#state = state;
    this.#forwarder = new Forwarder({
      outbox,
      // A broker acknowledges before anything is stored.
      send: async (bytes) => {
        if (!this.dead) o.toProvider(bytes);
      },
      outdated: (stored) => outdated(stored, { rootPem: o.credentials.rootPem, ...momentOf(o.clock) }),
      clock: o.clock,
      log: o.log,
    });
    this.#running = this.#forwarder.run();
  }

  static async start(o: SiteOptions): Promise<Site> {
    const state = await openState(o.directory);
    return new Site(o, state, await Outbox.open(state, { share: { of: ownerOf, capacity: MAX_OUTBOX_PER_DEVICE } }));
  }

  get waiting(): number {
    return this.#forwarder.waiting;
  }

  async statement(from: DeviceIdentity, bytes: Buffer): Promise<void> {
    const { clock, credentials } = this.#o;
    await this.#forwarder.put(statementKey(bytes, from, { rootPem: credentials.rootPem, ...momentOf(clock) }), bytes);
  }

  async receipts(bytes: Buffer): Promise<void> {
    const { clock, credentials, toDevice } = this.#o;
    const { signed, receipts } = openReceipts(bytes, credentials.rootPem, momentOf(clock));
    for (const { receipt, proof } of receipts) {
      await this.#forwarder.received(keyOf(receipt));
      if (!this.dead) toDevice(receipt.device, Buffer.from(JSON.stringify({ head: signed, receipts: [proof] })));
    }
  }

  line(up: boolean): void {
    if (up) this.#forwarder.lineUp();
    else this.#forwarder.lineDown();
  }

  /** As a kill: what is under way fails or is on the disk, and nobody hears of it. */
  async kill(): Promise<void> {
    this.dead = true;
    this.#forwarder.lineDown();
    await this.#state.close();
    await this.#forwarder.close();
    await this.#running;
  }
}
