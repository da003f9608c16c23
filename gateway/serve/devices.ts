import { type Clock, momentOf } from '../../shared/base/clock.ts';
import { toWardcastError, WardcastError } from '../../shared/base/errors.ts';
import { type DeviceIdentity, type Identity, identityPath } from '../../shared/base/identity.ts';
import { STATEMENTS_IN_FLIGHT } from '../../shared/base/limits.ts';
import type { Log } from '../../shared/base/log.ts';
import type { Delivery, EmbeddedBroker } from '../../shared/net/broker.ts';
import type { ObjectServer } from '../../shared/net/exchange/server.ts';
import {
  DeviceHello,
  type KeyAnswer,
  type Offer,
  Progress,
  type Refused,
  SignedKeyQuestion,
  type TimeAnswer,
  TimeQuestion,
  Want,
} from '../../shared/wire/messages.ts';
import { announce, down, parseUp, UP_FILTERS } from '../../shared/wire/topics.ts';
import { printMessage, readMessage } from '../message.ts';
import type { Forwarder } from '../outbox/forwarder.ts';
import { statementKey } from '../outbox/statements.ts';
import type { CompleteView } from '../relay/complete-view.ts';
import type { Views } from '../relay/views.ts';

interface Options {
  readonly broker: EmbeddedBroker;
  readonly objects: ObjectServer;
  readonly views: Views;
  readonly forwarder: Forwarder;
  readonly hello: (device: DeviceIdentity, hello: DeviceHello) => void;
  /** Hints for people, dropped when the line is down. */
  readonly progress: (progress: Progress) => void;
  /** A device asks for the time. */
  readonly time: (who: string, question: TimeQuestion, reply: (answer: TimeAnswer) => void) => void;
  /** A device asks for the keys of its group. */
  readonly groupKeys: (device: DeviceIdentity, question: SignedKeyQuestion) => void;
  /** The certificates' root: statements are verified against it. */
  readonly rootPem: string;
  readonly clock: Clock;
  readonly log: Log;
}

/** The LAN's conversation: hears what devices say, and tells them of their bundle. */
export class Devices {
  readonly #o: Options;
  /** Statements on their way to the disk. */
  readonly #storing = new Set<Promise<void>>();

  constructor(options: Options) {
    this.#o = options;
  }

  /** Handles what devices say until the signal aborts. */
  async run(signal: AbortSignal): Promise<void> {
    for await (const delivery of this.#o.broker.subscribe([UP_FILTERS.device], { signal })) {
      try {
        await this.#handle(delivery);
      } catch (error) {
        this.#refuse(delivery, error);
      }
    }
    await Promise.allSettled(this.#storing);
  }

  /** The group's view is complete: all its devices hear of it. */
  announce(view: CompleteView): void {
    this.#publish(announce(view.scope, 'offer'), offerOf(view));
  }

  /** Tells a device what the provider said about its statement; a device that is away states anew when it is back. */
  async receipt(device: DeviceIdentity, bytes: Buffer): Promise<void> {
    if (!this.#o.broker.connected(device)) return;
    await this.#o.broker.send(device, down(device, 'receipt'), bytes);
  }

  /** A device that is away asks again when it is back. */
  groupKeys(device: DeviceIdentity, answer: KeyAnswer): void {
    if (this.#o.broker.connected(device)) this.#send(device, down(device, 'key'), answer);
  }

  async #handle(delivery: Delivery): Promise<void> {
    const said = parseUp(delivery.topic);
    const from = delivery.from;
    // The broker's policy lets nobody speak for another; what is not from a device is no business of this room.
    if (from?.role !== 'device' || said === undefined || identityPath(said.sender) !== identityPath(from)) {
      throw new WardcastError('PROTOCOL_VIOLATION', 'A message does not come from the device it is said by');
    }
    switch (said.verb) {
      case 'hello':
        this.#o.hello(from, readMessage(DeviceHello, delivery.payload));
        delivery.accept();
        this.#greet(from);
        return;
      case 'want':
        this.#o.objects.handle(from, readMessage(Want, delivery.payload));
        delivery.accept();
        return;
      case 'progress':
        this.#forward(from, readMessage(Progress, delivery.payload));
        delivery.accept();
        return;
      case 'time':
        this.#o.time(identityPath(from), readMessage(TimeQuestion, delivery.payload), (answer) => this.#send(from, down(from, 'time'), answer));
        delivery.accept();
        return;
      case 'key':
        this.#o.groupKeys(from, readMessage(SignedKeyQuestion, delivery.payload));
        delivery.accept();
        return;
      case 'statement':
        await this.#store(from, delivery);
        return;
      default:
        throw new WardcastError('PROTOCOL_VIOLATION', `A device has no business with ${said.verb}`);
    }
  }

  #greet(device: DeviceIdentity): void {
    const views = this.#o.views.served(device.group);
    if (views !== undefined) this.#send(device, down(device, 'offer'), offerOf(views.current));
  }

  #forward(from: DeviceIdentity, progress: Progress): void {
    if (progress.group !== from.group || progress.device !== from.device) {
      throw new WardcastError('PROTOCOL_VIOLATION', `${from.device} reports the progress of another`);
    }
    this.#o.progress(progress);
  }

  /** Many at once, so that they share a sync of the disk; acknowledged when durable. */
  async #store(from: DeviceIdentity, delivery: Delivery): Promise<void> {
    const key = statementKey(delivery.payload, from, { rootPem: this.#o.rootPem, ...momentOf(this.#o.clock) });
    const storing = this.#o.forwarder
      .put(key, delivery.payload)
      .then(() => delivery.accept())
      .catch((error: unknown) => this.#refuse(delivery, error))
      .finally(() => this.#storing.delete(storing));
    this.#storing.add(storing);
    if (this.#storing.size >= STATEMENTS_IN_FLIGHT) await Promise.race(this.#storing);
  }

  /** The sender is told, since MQTT 3.1.1 cannot; only a receipt lets it forget a statement, so nothing is lost by the acknowledgement. */
  #refuse(delivery: Delivery, error: unknown): void {
    const failure = toWardcastError(error);
    const from = delivery.from;
    this.#o.log.warn('serve.message-refused', { who: from === undefined ? undefined : identityPath(from), topic: delivery.topic, error: failure });
    delivery.accept();
    if (from === undefined) return;
    const refused: Refused = { topic: delivery.topic.slice(0, 2048), code: failure.code, message: failure.message.slice(0, 500) };
    this.#send(from, down(from, 'refused'), refused);
  }

  #send(to: Identity, topic: string, message: Offer | Refused | TimeAnswer | KeyAnswer): void {
    this.#o.broker.send(to, topic, printMessage(message)).catch((error: unknown) => {
      // It is gone: at its next connect it is greeted anew.
      this.#o.log.debug('serve.not-delivered', { who: identityPath(to), topic, error });
    });
  }

  #publish(topic: string, message: Offer): void {
    this.#o.broker.publish(topic, printMessage(message)).catch((error: unknown) => this.#o.log.warn('serve.not-announced', { topic, error }));
  }
}

function offerOf(view: CompleteView): Offer {
  return { group: view.scope.group, sequence: view.sequence, timestampVersion: view.timestampVersion };
}
