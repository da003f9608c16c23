import type { z } from 'zod';
import { toWardcastError } from '../shared/base/errors.ts';
import type { DeviceIdentity } from '../shared/base/identity.ts';
import { MAX_CONTROL_MESSAGE } from '../shared/base/limits.ts';
import type { Log } from '../shared/base/log.ts';
import type { Delivery, Link } from '../shared/net/broker.ts';
import { DeviceHello, Offer, Peers, type Progress, Refused, type SignedKeyQuestion, type TimeQuestion } from '../shared/wire/messages.ts';
import { announce, down, up } from '../shared/wire/topics.ts';

export interface SessionHandlers {
  /** The bundle of the group may have changed. */
  readonly onOffer: (offer: z.infer<typeof Offer>) => void;
  /** Returns when it is handled durably. */
  readonly onReceipt: (payload: Buffer) => Promise<void>;
  readonly onTime: (payload: Buffer) => void;
  /** Returns when it is handled durably. */
  readonly onGroupKeys: (payload: Buffer) => Promise<void>;
  readonly onPeers: (told: z.infer<typeof Peers>) => void;
  /** The gateway did not take a statement, for this reason. */
  readonly onStatementRefused: (code: string) => void;
}

export interface SessionOptions extends SessionHandlers {
  readonly link: Link;
  readonly device: DeviceIdentity;
  readonly hello: () => z.infer<typeof DeviceHello>;
  readonly log: Log;
  readonly signal: AbortSignal;
}

/** One connection to the gateway's broker: says who and where this device is, and hears what is said to it and to its group. */
export class Session {
  readonly #o: SessionOptions;

  constructor(options: SessionOptions) {
    this.#o = options;
  }

  async greet(): Promise<void> {
    const { link, device, hello, signal } = this.#o;
    await link.publish(up(device, 'hello'), Buffer.from(JSON.stringify(DeviceHello.parse(hello()))), { signal });
  }

  /** A signed statement; a lost one is sent again at the next connect. */
  sendStatement(signed: Buffer): void {
    const { link, device, signal, log } = this.#o;
    link.publish(up(device, 'statement'), signed, { signal }).catch((error: unknown) => {
      if (!signal.aborted) log.warn('statement.unsent', { error });
    });
  }

  sendProgress(progress: Progress): void {
    const { link, device, signal, log } = this.#o;
    link.publish(up(device, 'progress'), Buffer.from(JSON.stringify(progress)), { qos: 0, signal }).catch((error: unknown) => {
      log.debug('progress.unsent', { error });
    });
  }

  askTime(question: TimeQuestion): void {
    const { link, device, signal, log } = this.#o;
    link.publish(up(device, 'time'), Buffer.from(JSON.stringify(question)), { signal }).catch((error: unknown) => {
      log.debug('time.unasked', { error });
    });
  }

  askGroupKeys(question: SignedKeyQuestion): void {
    const { link, device, signal, log } = this.#o;
    link.publish(up(device, 'key'), Buffer.from(JSON.stringify(question)), { signal }).catch((error: unknown) => {
      log.debug('key.unasked', { error });
    });
  }

  /** Ends when the session's signal aborts. Subscribe first, greet then: nothing that is answered can be missed. */
  async listen(): Promise<void> {
    const { link, device, signal } = this.#o;
    const filters = [
      down(device, 'offer'),
      down(device, 'receipt'),
      down(device, 'time'),
      down(device, 'key'),
      down(device, 'refused'),
      announce(device, 'offer'),
      announce(device, 'peers'),
    ];
    for await (const delivery of link.subscribe(filters, { signal })) {
      try {
        await this.#hear(delivery);
      } catch (error) {
        this.#o.log.error('message.failed', { topic: delivery.topic, error: toWardcastError(error) });
      }
      // Also after a failure: what a message says is said again, and one bad message must not stop the others.
      delivery.accept();
    }
  }

  async #hear({ topic, payload }: Delivery): Promise<void> {
    const { device, log, onOffer, onReceipt, onTime, onGroupKeys, onPeers, onStatementRefused } = this.#o;
    if (payload.length > MAX_CONTROL_MESSAGE) {
      log.warn('message.too-long', { topic, bytes: payload.length });
      return;
    }
    switch (topic) {
      case down(device, 'receipt'):
        return await onReceipt(payload);
      case down(device, 'time'):
        onTime(payload);
        return;
      case down(device, 'key'):
        return await onGroupKeys(payload);
      case down(device, 'offer'):
      case announce(device, 'offer'): {
        const offer = this.#read(Offer, topic, payload);
        if (offer === undefined) return;
        if (offer.group === device.group) onOffer(offer);
        else log.warn('offer.foreign-group', { group: offer.group });
        return;
      }
      case announce(device, 'peers'): {
        const told = this.#read(Peers, topic, payload);
        if (told !== undefined) onPeers(told);
        return;
      }
      case down(device, 'refused'): {
        const refused = this.#read(Refused, topic, payload);
        if (refused === undefined) return;
        log.warn('publish.refused', { refused });
        if (refused.topic === up(device, 'statement')) onStatementRefused(refused.code);
        return;
      }
    }
  }

  #read<T>(schema: z.ZodType<T>, topic: string, payload: Buffer): T | undefined {
    let value: unknown;
    try {
      value = JSON.parse(payload.toString('utf8'));
    } catch (error) {
      this.#o.log.warn('message.no-json', { topic, error });
      return undefined;
    }
    const parsed = schema.safeParse(value);
    if (parsed.success) return parsed.data;
    this.#o.log.warn('message.malformed', { topic, error: parsed.error.message.slice(0, 500) });
    return undefined;
  }
}
