import { randomUUID } from 'node:crypto';
import { type IPublishPacket, MqttClient } from 'mqtt';
import type { Credentials } from '../../certs/credentials.ts';
import { type Clock, momentOf } from '../base/clock.ts';
import { type ErrorCode, toWardcastError, WardcastError } from '../base/errors.ts';
import { type Identity, identityPath } from '../base/identity.ts';
import { CONNECT_TIMEOUT, KEEPALIVE, MAX_PAYLOAD, RECONNECT_MAX, RECONNECT_MIN, REFUSAL_LINGER } from '../base/limits.ts';
import type { Log } from '../base/log.ts';
import { down } from '../wire/topics.ts';
import type { Delivery, Link, LinkState, PublishOptions } from './broker.ts';
import { DeliveryQueue } from './delivery-queue.ts';
import { type Dialled, dial } from './dial.ts';
import { endReason, StreamWatch } from './link-end.ts';
import type { Revocations } from './revocations.ts';

export interface LinkOptions {
  readonly host: string;
  readonly port: number;
  readonly credentials: Credentials;
  /** Is this whom we want to talk to? */
  readonly expect: (identity: Identity) => boolean;
  /** If given, the server's certificate must be for this DNS name too. */
  readonly serverName?: string | undefined;
  readonly revocations?: Revocations | undefined;
  readonly log: Log;
  readonly clock: Clock;
  /** In [0, 1); for the jitter. */
  readonly random?: () => number;
  readonly signal?: AbortSignal | undefined;
}

/** Connects to an MQTT 3.1.1 broker over TLS, and again and again until closed. Returns at once; onState tells how it goes. */
export function openLink(options: LinkOptions): Link {
  return new MqttLink(options);
}

/** Every connection has a client object of its own, so that nothing of mqtt.js (its stores, its resending) survives a loss: callers keep outboxes. */
class MqttLink implements Link {
  readonly #o: LinkOptions;
  readonly #clientId: string;
  readonly #refusedTopic: string;
  readonly #queues = new Set<DeliveryQueue>();
  readonly #listeners = new Set<(state: LinkState, reason?: Error) => void>();
  readonly #closing = new AbortController();
  readonly #ended: Promise<void>;
  /** Ways to fail the publishes that wait for their acknowledgement. */
  readonly #waiting = new Set<(error: WardcastError) => void>();
  #state: LinkState = 'connecting';
  #client: MqttClient | undefined;
  #dialled: Dialled | undefined;
  #received = 0;
  #sent = 0;

  constructor(options: LinkOptions) {
    this.#o = options;
    const { identity } = options.credentials;
    // A person may have several terminals open; a daemon runs once, and its newest connection is the one that counts.
    this.#clientId = identity.role === 'ops' ? `${identityPath(identity)}/${randomUUID()}` : identityPath(identity);
    this.#refusedTopic = down(options.credentials.identity, 'refused');
    options.signal?.addEventListener('abort', this.#onAbort, { once: true });
    if (options.signal?.aborted) this.#closing.abort();
    this.#ended = this.#run();
  }

  readonly #onAbort = (): void => {
    void this.close();
  };

  get state(): LinkState {
    return this.#state;
  }

  onState(listener: (state: LinkState, reason?: Error) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  traffic(): { readonly received: number; readonly sent: number } {
    return { received: this.#received + (this.#dialled?.raw.bytesRead ?? 0), sent: this.#sent + (this.#dialled?.raw.bytesWritten ?? 0) };
  }

  async publish(topic: string, payload: Buffer, { qos = 1, signal }: PublishOptions = {}): Promise<void> {
    if (signal?.aborted) throw new WardcastError('ABORTED', 'The work was cancelled', { cause: signal.reason });
    if (payload.length > MAX_PAYLOAD) throw new WardcastError('LIMIT_EXCEEDED', `A payload of ${payload.length} bytes is over the limit of ${MAX_PAYLOAD}`);
    const client = this.#client;
    if (client === undefined || this.#state !== 'up') throw new WardcastError('CONNECTION_LOST', `There is no connection to ${this.#address}`);
    await new Promise<void>((resolve, reject) => {
      const settle = (error?: WardcastError): void => {
        this.#waiting.delete(settle);
        signal?.removeEventListener('abort', onAbort);
        if (error === undefined) resolve();
        else reject(error);
      };
      const onAbort = (): void => settle(new WardcastError('ABORTED', 'The work was cancelled', { cause: signal?.reason }));
      signal?.addEventListener('abort', onAbort, { once: true });
      this.#waiting.add(settle);
      client.publish(topic, payload, { qos }, (error) =>
        settle(error ? toWardcastError(error, 'CONNECTION_LOST', 'The publish was not acknowledged') : undefined),
      );
    });
  }

  subscribe(filters: readonly string[], { signal }: { signal?: AbortSignal | undefined } = {}): AsyncIterable<Delivery> {
    const queue = new DeliveryQueue(filters, (closed) => this.#forget(closed), signal);
    if (this.#closing.signal.aborted) queue.close();
    else if (!signal?.aborted) {
      const fresh = filters.filter((filter) => !this.#filters().includes(filter));
      this.#queues.add(queue);
      if (this.#client !== undefined) void this.#subscribeAt(this.#client, fresh);
    }
    return queue;
  }

  async close(): Promise<void> {
    this.#o.signal?.removeEventListener('abort', this.#onAbort);
    this.#closing.abort();
    await this.#ended;
  }

  get #address(): string {
    return `${this.#o.host}:${this.#o.port}`;
  }

  // ── the life of the link ──────────────────────────────────────────────────────────────────────────────

  async #run(): Promise<void> {
    const { clock, log, random = Math.random } = this.#o;
    const signal = this.#closing.signal;
    let failures = 0;
    let told: ErrorCode | undefined;
    while (!signal.aborted) {
      // Two daemons with one identity throw each other out: only a connection that lasted resets the back-off.
      let upSince: number | undefined;
      const reason = await this.#live(() => {
        upSince = clock.monotonic();
      });
      if (upSince !== undefined && clock.monotonic() - upSince > RECONNECT_MAX) failures = 0;
      const wait = random() * Math.min(RECONNECT_MAX, RECONNECT_MIN * 2 ** Math.min(failures, 16));
      failures++;
      // A line that is down for weeks is news once, and again when the reason changes.
      const fields = { address: this.#address, ...reason.toJSON(), retryMs: Math.round(wait) };
      if (upSince !== undefined || reason.code !== told) log.warn('link.down', fields);
      else log.debug('link.down', fields);
      told = reason.code;
      this.#tell('down', signal.aborted ? new WardcastError('ABORTED', 'The link was closed') : reason);
      await clock.sleep(wait, { signal }).catch(() => undefined);
    }
    for (const queue of this.#queues) queue.close();
  }

  /** One connection from dialling to its end; never throws, returns why it ended. */
  async #live(onUp: () => void): Promise<WardcastError> {
    this.#tell('connecting');
    try {
      const dialled = await dial({ ...this.#o, protocol: 'mqtt', signal: this.#closing.signal });
      this.#dialled = dialled;
      return await this.#converse(dialled, onUp);
    } catch (error) {
      return toWardcastError(error, 'CONNECTION_FAILED', `Cannot connect to ${this.#address}`);
    } finally {
      const { received, sent } = this.traffic();
      this.#dialled = undefined;
      this.#received = received;
      this.#sent = sent;
    }
  }

  async #converse({ socket, identity }: Dialled, onUp: () => void): Promise<WardcastError> {
    const watch = new StreamWatch(socket);
    const client = new MqttClient(() => socket, {
      protocolVersion: 4,
      protocolId: 'MQTT',
      clientId: this.#clientId,
      clean: true,
      keepalive: KEEPALIVE,
      connectTimeout: CONNECT_TIMEOUT,
      reconnectPeriod: 0,
      resubscribe: false,
      queueQoSZero: false,
      // Or else mqtt-packet makes a Buffer for each number up to 65,535: 9 MiB.
      writeCache: false,
    });
    client.handleMessage = (packet, callback) => this.#onPublish(client, packet, callback);
    const closed = Promise.withResolvers<void>();
    client.on('error', (error) => watch.note(error));
    client.on('close', () => closed.resolve());
    const onAbort = (): void => hangUp(client, this.#waiting.size > 0);
    this.#closing.signal.addEventListener('abort', onAbort, { once: true });
    if (this.#closing.signal.aborted) onAbort();
    client.once('connect', () => {
      watch.connected = true;
      this.#client = client;
      void this.#subscribeAt(client, this.#filters()).then(() => {
        if (this.#client !== client || !client.connected) return;
        onUp();
        this.#o.log.info('link.up', { address: this.#address, server: identityPath(identity) });
        this.#tell('up');
      });
    });
    await closed.promise;
    this.#closing.signal.removeEventListener('abort', onAbort);
    this.#client = undefined;
    client.end(true);
    socket.destroy();
    const reason = endReason(watch, { address: this.#address, credentials: this.#o.credentials, ...momentOf(this.#o.clock) });
    for (const fail of this.#waiting)
      fail(new WardcastError('CONNECTION_LOST', `The connection to ${this.#address} broke before the acknowledgement`, { cause: reason }));
    return reason;
  }

  #tell(state: LinkState, reason?: WardcastError): void {
    this.#state = state;
    for (const listener of this.#listeners) listener(state, reason);
  }

  // ── subscriptions ─────────────────────────────────────────────────────────────────────────────────────

  #filters(): string[] {
    return [...new Set([...this.#queues].flatMap((queue) => queue.filters))];
  }

  #forget(queue: DeliveryQueue): void {
    this.#queues.delete(queue);
    const left = this.#filters();
    const unused = queue.filters.filter((filter) => !left.includes(filter));
    if (unused.length > 0 && this.#client?.connected === true) this.#client.unsubscribe([...unused], () => undefined);
  }

  async #subscribeAt(client: MqttClient, filters: readonly string[]): Promise<void> {
    if (filters.length === 0) return;
    await new Promise<void>((resolve) => {
      client.once('close', resolve);
      client.subscribe([...filters], { qos: 1 }, (error) => {
        client.removeListener('close', resolve);
        if (error && client.connected) this.#o.log.error('link.subscription_refused', { address: this.#address, filters, message: error.message });
        resolve();
      });
    });
  }

  /**
   * Hands a message to its readers. mqtt.js would acknowledge QoS 1 when `callback` is called, and reads nothing further before that: neither the
   * acknowledgements of our own publishes nor pings. So it is told an error, which makes it go on without PUBACK, and PUBACK is written when the
   * readers have accepted. Only full queues hold the stream back.
   */
  #onPublish(client: MqttClient, packet: IPublishPacket, callback: (error?: Error) => void): void {
    const { topic, messageId } = packet;
    const payload = typeof packet.payload === 'string' ? Buffer.from(packet.payload) : packet.payload;
    if (topic === this.#refusedTopic) {
      this.#o.log.warn('link.publish_refused', { address: this.#address, notice: payload.toString().slice(0, 4096) });
      callback();
      return;
    }
    const queues = [...this.#queues].filter((queue) => queue.matches(topic));
    if (queues.length === 0) {
      this.#o.log.debug('link.unheard', { topic });
      callback();
      return;
    }
    const acknowledge = packet.qos === 1 && messageId !== undefined ? (): void => writePuback(client, messageId) : (): void => undefined;
    let open = queues.length;
    for (const queue of queues) {
      let accepted = false;
      const accept = (): void => {
        if (accepted) return;
        accepted = true;
        open--;
        if (open === 0) acknowledge();
      };
      queue.push({ topic, payload, accept });
    }
    const proceed = (): void => callback(packet.qos === 1 ? ACKNOWLEDGED_LATER : undefined);
    const full = queues.filter((queue) => queue.full);
    if (full.length === 0) proceed();
    else void Promise.all(full.map((queue) => queue.room())).then(proceed);
  }
}

const ACKNOWLEDGED_LATER = new Error('acknowledged when it is accepted');

/** MQTT 3.1.1, 3.4. */
function writePuback(client: MqttClient, messageId: number): void {
  if (client.connected && client.stream.writable) client.stream.write(Buffer.from([0x40, 0x02, messageId >> 8, messageId & 0xff]));
}

/** DISCONNECT, then the end; at once if something is still unacknowledged, which would hold it up. */
function hangUp(client: MqttClient, force: boolean): void {
  client.end(force);
  setTimeout(() => client.stream.destroy(), REFUSAL_LINGER).unref();
}
