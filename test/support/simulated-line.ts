import { WardcastError } from '../../shared/base/errors.ts';
import { type Identity, identityPath } from '../../shared/base/identity.ts';
import type { Delivery, EmbeddedBroker, Link, LinkState, Presence, PublishOptions } from '../../shared/net/broker.ts';
import { DeliveryQueue } from '../../shared/net/delivery-queue.ts';

/** A broker and its links in memory, with lines that tests cut, restore and tamper with. */
export class SimulatedBroker implements EmbeddedBroker {
  readonly #links = new Map<string, SimulatedLink>();
  readonly #presence = new Set<(presence: Presence) => void>();
  readonly #queues = new Set<DeliveryQueue>();
  /** All that was sent to clients. */
  readonly sent: { readonly to: string; readonly topic: string; readonly bytes: number }[] = [];
  /** What passes from the broker to a client: changed, or swallowed when undefined. */
  tamper: (topic: string, payload: Buffer) => Buffer | undefined = (_topic, payload) => payload;
  /** Resolves when a client's socket has room again. */
  drain: (to: Identity) => Promise<void> = () => new Promise(setImmediate);
  received = 0;

  link(identity: Identity): SimulatedLink {
    const link = new SimulatedLink(this, identity);
    this.#links.set(identityPath(identity), link);
    return link;
  }

  async publish(): Promise<void> {
    // Nobody subscribes to anything in these tests but to what is sent to them.
  }

  async send(to: Identity, topic: string, payload: Buffer): Promise<void> {
    const link = this.#links.get(identityPath(to));
    if (link?.state !== 'up') throw new WardcastError('CONNECTION_LOST', 'not connected');
    this.sent.push({ to: identityPath(to), topic, bytes: payload.length });
    const connection = link.connection;
    await this.drain(to);
    if (link.state !== 'up' || link.connection !== connection) throw new WardcastError('CONNECTION_LOST', 'cut');
    const passed = this.tamper(topic, payload);
    if (passed !== undefined) link.deliver(topic, passed);
  }

  subscribe(filters: readonly string[], { signal }: { signal?: AbortSignal | undefined } = {}): AsyncIterable<Delivery> {
    const queue = new DeliveryQueue(filters, (closed) => this.#queues.delete(closed), signal);
    this.#queues.add(queue);
    return queue;
  }

  connected(identity: Identity): boolean {
    return this.#links.get(identityPath(identity))?.state === 'up';
  }

  onPresence(listener: (presence: Presence) => void): () => void {
    this.#presence.add(listener);
    return () => this.#presence.delete(listener);
  }

  onRefused(): () => void {
    return () => undefined;
  }

  disconnect(identity: Identity): void {
    this.#links.get(identityPath(identity))?.cut();
  }

  async close(): Promise<void> {
    for (const queue of [...this.#queues]) queue.close();
  }

  /** For the link: a client said something. */
  hear(from: Identity, topic: string, payload: Buffer): void {
    this.received += 1;
    for (const queue of this.#queues) if (queue.matches(topic)) queue.push({ topic, payload, from, accept: () => undefined });
  }

  tell(identity: Identity, connected: boolean): void {
    for (const listener of this.#presence) listener({ identity, address: '127.0.0.1', connected });
  }
}

export class SimulatedLink implements Link {
  readonly #broker: SimulatedBroker;
  readonly #identity: Identity;
  readonly #queues = new Set<DeliveryQueue>();
  readonly #listeners = new Set<(state: LinkState, reason?: Error) => void>();
  #state: LinkState = 'connecting';
  #received = 0;
  connection = 0;

  constructor(broker: SimulatedBroker, identity: Identity) {
    this.#broker = broker;
    this.#identity = identity;
  }

  get state(): LinkState {
    return this.#state;
  }

  connect(): void {
    this.connection += 1;
    this.#broker.tell(this.#identity, true);
    this.#tell('up');
  }

  cut(): void {
    this.#broker.tell(this.#identity, false);
    this.#tell('down', new WardcastError('CONNECTION_LOST', 'cut'));
  }

  onState(listener: (state: LinkState, reason?: Error) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  traffic(): { received: number; sent: number } {
    return { received: this.#received, sent: 0 };
  }

  async publish(topic: string, payload: Buffer, _options?: PublishOptions): Promise<void> {
    if (this.#state !== 'up') throw new WardcastError('CONNECTION_LOST', 'down');
    const connection = this.connection;
    await new Promise(setImmediate);
    if (this.#state === 'up' && this.connection === connection) this.#broker.hear(this.#identity, topic, payload);
  }

  subscribe(filters: readonly string[], { signal }: { signal?: AbortSignal | undefined } = {}): AsyncIterable<Delivery> {
    const queue = new DeliveryQueue(filters, (closed) => this.#queues.delete(closed), signal);
    this.#queues.add(queue);
    return queue;
  }

  deliver(topic: string, payload: Buffer): void {
    this.#received += payload.length;
    for (const queue of this.#queues) if (queue.matches(topic)) queue.push({ topic, payload, accept: () => undefined });
  }

  async close(): Promise<void> {
    this.cut();
    for (const queue of [...this.#queues]) queue.close();
  }

  #tell(state: LinkState, reason?: Error): void {
    this.#state = state;
    for (const listener of this.#listeners) listener(state, reason);
  }
}
