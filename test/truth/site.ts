import { join } from 'node:path';
import type { Credentials } from '../../certs/credentials.ts';
import { LogHead } from '../../gateway/log-head.ts';
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
  readonly #head: LogHead;
  dead = false;

  private constructor(o: SiteOptions, { state, outbox, head }: { state: State; outbox: Outbox; head: LogHead }) {
    this.#o = o;
    this.#state = state;
    this.#head = head;
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
    const state = await openState(join(o.directory, 'state'));
    const outbox = await Outbox.open(state, { share: { of: ownerOf, capacity: MAX_OUTBOX_PER_DEVICE } });
    const head = await LogHead.open({ directory: o.directory, ask: () => site.#hello(), clock: o.clock, log: o.log });
    const site = new Site(o, { state, outbox, head });
    return site;
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
    const opened = openReceipts(bytes, credentials.rootPem, momentOf(clock));
    const { signed, receipts } = opened;
    for (const { receipt, proof } of receipts) {
      await this.#forwarder.received(keyOf(receipt));
      if (!this.dead) toDevice(receipt.device, Buffer.from(JSON.stringify({ head: signed, receipts: [proof] })));
    }
    await this.#head.shown(opened);
  }

  line(up: boolean): void {
    if (up) {
      this.#hello();
      this.#forwarder.lineUp();
    } else this.#forwarder.lineDown();
  }

  /** Asks whether the provider's log goes on from the head it keeps. */
  #hello(): void {
    const head = this.#head.point;
    if (head !== undefined && !this.dead) this.#o.toProvider(Buffer.from(JSON.stringify({ version: '0.1.0', groups: [], head })));
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
