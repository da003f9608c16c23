import { type Clock, momentOf } from '../shared/base/clock.ts';
import { toWardcastError, WardcastError } from '../shared/base/errors.ts';
import type { DeviceIdentity, GatewayIdentity } from '../shared/base/identity.ts';
import { STATEMENTS_IN_FLIGHT } from '../shared/base/limits.ts';
import type { Log } from '../shared/base/log.ts';
import type { Delivery, Link } from '../shared/net/broker.ts';
import { type Opened, openReceipts } from '../shared/net/receipts.ts';
import { type EnrolForward, EnrolReply } from '../shared/wire/enrol.ts';
import {
  type GatewayHello,
  type KeyQuestions,
  type LogPoint,
  Offer,
  type Progress,
  type Receipt,
  type Receipts,
  Refused,
  type Seen,
  type TimeQuestion,
} from '../shared/wire/messages.ts';
import { down, parseDown, up } from '../shared/wire/topics.ts';
import { printMessage, readMessage } from './message.ts';

interface Options {
  readonly link: Link;
  readonly gateway: GatewayIdentity;
  /** The certificates' root: receipts are verified against it. */
  readonly rootPem: string;
  readonly version: string;
  /** The newest complete bundle of each group. */
  readonly groups: () => GatewayHello['groups'];
  readonly offer: (offer: Offer) => void;
  /** The head of the provider's log that the gateway keeps. */
  readonly head: () => LogPoint | undefined;
  /** A head that the provider signed. @throws STORAGE_FAILED */
  readonly headShown: (opened: Opened) => Promise<void>;
  /** A verified receipt, and the message that proves it to its device; resolves when it is durably handled. */
  readonly receipt: (device: DeviceIdentity, receipt: Receipt, bytes: Buffer) => Promise<void>;
  /** What came as an answer about the time, unverified. */
  readonly time: (bytes: Buffer) => void;
  /** What came as answers about group keys, for their devices alone to read. */
  readonly groupKeys: (bytes: Buffer) => void;
  /** What the provider says to somebody who asked for a certificate. */
  readonly enrolled: (reply: EnrolReply) => void;
  readonly lineUp: () => void;
  readonly lineDown: () => void;
  readonly clock: Clock;
  readonly log: Log;
}

/** Its own verbs only: the object puller listens to the others. */
const HEARD = ['offer', 'receipt', 'time', 'key', 'enrolled', 'refused'] as const;

/** The gateway's side of the one line outside: says what it holds at every connect, hears offers and receipts. */
export class Uplink {
  readonly #o: Options;
  readonly #handling = new Set<Promise<void>>();

  constructor(options: Options) {
    this.#o = options;
  }

  get up(): boolean {
    return this.#o.link.state === 'up';
  }

  /** Until the signal aborts. */
  async run(signal: AbortSignal): Promise<void> {
    const { link, gateway, log } = this.#o;
    // Subscribed before the hello that is answered there.
    const deliveries = link.subscribe(
      HEARD.map((verb) => down(gateway, verb)),
      { signal },
    );
    const stop = link.onState((state, reason) => this.#onState(state, reason));
    if (this.up) this.#onState('up', undefined);
    try {
      for await (const delivery of deliveries) {
        // Many at once, so that receipts share a sync of the disk.
        const handling = this.#handle(delivery)
          .catch((error: unknown) => {
            log.error('uplink.message-refused', { topic: delivery.topic, error: toWardcastError(error) });
            delivery.accept();
          })
          .finally(() => this.#handling.delete(handling));
        this.#handling.add(handling);
        if (this.#handling.size >= STATEMENTS_IN_FLIGHT) await Promise.race(this.#handling);
      }
    } finally {
      stop();
      await Promise.allSettled(this.#handling);
    }
  }

  /** Resolves when the provider's broker acknowledged; that is no receipt. @throws CONNECTION_LOST */
  statement(bytes: Buffer): Promise<void> {
    return this.#o.link.publish(up(this.#o.gateway, 'statement'), bytes);
  }

  /** Resolves when the provider's broker has it; the answer comes back as `enrolled`. @throws CONNECTION_LOST */
  enrol(forward: EnrolForward): Promise<void> {
    return this.#o.link.publish(up(this.#o.gateway, 'enrol'), printMessage(forward));
  }

  /** A hint, lost when the line is down. The last word on a bundle travels acknowledged. */
  progress(progress: Progress): void {
    const last = progress.phase === 'relayed' || progress.phase === 'done' || progress.phase === 'failed';
    this.#say('progress', progress, last ? 1 : 0);
  }

  seen(seen: Seen): void {
    this.#say('seen', seen, 1);
  }

  /** Resolves when the provider has handled them; what it answers comes back as `key`. @throws CONNECTION_LOST */
  groupKeys(questions: KeyQuestions): Promise<void> {
    return this.#o.link.publish(up(this.#o.gateway, 'key'), printMessage(questions));
  }

  /** Asks the provider for the time; lost when the line is down. */
  time(question: TimeQuestion): void {
    this.#say('time', question, 1);
  }

  #onState(state: 'connecting' | 'up' | 'down', reason: Error | undefined): void {
    if (state === 'connecting') return;
    if (state === 'down') {
      this.#o.log.debug('uplink.down', { error: reason });
      this.#o.lineDown();
      return;
    }
    this.hello();
    this.#o.log.info('uplink.up', { groups: this.#o.groups().length });
    this.#o.lineUp();
  }

  /** Says what it holds, and asks whether the provider's log goes on from the head it keeps. */
  hello(): void {
    const head = this.#o.head();
    this.#say('hello', { version: this.#o.version, groups: this.#o.groups(), ...(head === undefined ? {} : { head }) }, 1);
  }

  #say(verb: 'hello' | 'progress' | 'seen' | 'time', message: GatewayHello | Progress | Seen | TimeQuestion, qos: 0 | 1): void {
    if (!this.up) return;
    this.#o.link.publish(up(this.#o.gateway, verb), printMessage(message), { qos }).catch((error: unknown) => {
      // The line broke: the next connect says all that matters again.
      this.#o.log.debug('uplink.not-said', { verb, error });
    });
  }

  async #handle(delivery: Delivery): Promise<void> {
    switch (parseDown(this.#o.gateway, delivery.topic)?.verb) {
      case 'offer':
        this.#o.offer(readMessage(Offer, delivery.payload));
        break;
      case 'receipt':
        await this.#receipts(delivery.payload);
        break;
      case 'time':
        this.#o.time(delivery.payload);
        break;
      case 'key':
        this.#o.groupKeys(delivery.payload);
        break;
      case 'enrolled':
        this.#o.enrolled(readMessage(EnrolReply, delivery.payload));
        break;
      case 'refused':
        this.#o.log.error('uplink.refused', { ...readMessage(Refused, delivery.payload) });
        break;
      default:
        throw new WardcastError('PROTOCOL_VIOLATION', 'The provider said something a gateway does not listen to', { context: { topic: delivery.topic } });
    }
    delivery.accept();
  }

  async #receipts(bytes: Buffer): Promise<void> {
    const opened = openReceipts(bytes, this.#o.rootPem, momentOf(this.#o.clock));
    const { signed, receipts } = opened;
    await Promise.all(
      receipts.map(async ({ receipt, proof }) => {
        const { customer, site, group, device } = receipt;
        if (customer !== this.#o.gateway.customer || site !== this.#o.gateway.site) {
          throw new WardcastError('PROTOCOL_VIOLATION', `A receipt is for ${customer}/${site}, not for this site`);
        }
        const one: Receipts = { head: signed, receipts: [proof] };
        await this.#o.receipt({ role: 'device', customer, site, group, device }, receipt, printMessage(one));
      }),
    );
    await this.#o.headShown(opened);
  }
}
