import type { Socket } from 'node:net';
import { Aedes, type AuthenticateError, type Client } from 'aedes';
import type { Clock } from '../base/clock.ts';
import { type ErrorCode, WardcastError } from '../base/errors.ts';
import { type Identity, identityPath } from '../base/identity.ts';
import {
  CONNECT_TIMEOUT,
  DRAIN_TIMEOUT,
  MAX_LOGGED_REFUSALS,
  MAX_OPS_SESSIONS,
  MAX_PAYLOAD,
  MAX_REFUSED_PUBLISHES,
  MAX_SUBSCRIPTIONS,
  MAX_TOPIC,
} from '../base/limits.ts';
import type { Log } from '../base/log.ts';
import { mayPublish, mayRead } from '../wire/policy.ts';
import { down } from '../wire/topics.ts';
import type { Delivery, EmbeddedBroker, Presence, PublishOptions } from './broker.ts';
import { bytesOf, type ConnectPacket, connackError, consume, type PublishPacket, printable, refuseConnect } from './broker-packets.ts';
import { BrokerSession, lost } from './broker-session.ts';
import { DeliveryQueue } from './delivery-queue.ts';
import { readNotice } from './refusal-notice.ts';

/** Who may hear and say what; shared/wire/policy.ts unless a test says otherwise. */
export interface BrokerPolicy {
  mayRead(identity: Identity, filter: string): boolean;
  mayPublish(identity: Identity, topic: string): boolean;
}

export interface EmbeddedBrokerOptions {
  readonly log: Log;
  readonly clock: Clock;
  readonly policy?: BrokerPolicy;
  /** Milliseconds a client may leave its socket unread. */
  readonly drainTimeout?: number;
}

export interface AttachableBroker extends EmbeddedBroker {
  /** Takes over a socket whose handshake is done and whose certificate says `identity`. */
  attach(socket: Socket, identity: Identity): void;
}

type Refusal = { readonly who: Identity; readonly topic: string; readonly code: string };
type Subscription = Parameters<Aedes['authorizeSubscribe']>[1];
type Forward = Parameters<Aedes['authorizeForward']>[1];

/** An MQTT 3.1.1 broker inside the process, on aedes, for the sockets a door hands over. */
export function createEmbeddedBroker(options: EmbeddedBrokerOptions): AttachableBroker {
  return new AedesBroker(options);
}

/**
 * What a client publishes goes to the owner of the broker alone, and only the owner speaks to clients: no message can pass from one client to
 * another, whatever was subscribed. Sessions live as long as their connection (truth is kept in our own stores, never in a broker's queue).
 */
class AedesBroker implements AttachableBroker {
  readonly #log: Log;
  readonly #policy: BrokerPolicy;
  readonly #aedes: Aedes;
  readonly #ready: Promise<void>;
  readonly #sessions = new WeakMap<object, BrokerSession>();
  /** Client id → the newest connection that proved it. */
  readonly #live = new Map<string, BrokerSession>();
  readonly #queues = new Set<DeliveryQueue>();
  readonly #presenceListeners = new Set<(presence: Presence) => void>();
  readonly #refusedListeners = new Set<(refusal: Refusal) => void>();
  #closed = false;

  constructor(options: EmbeddedBrokerOptions) {
    this.#log = options.log;
    this.#policy = options.policy ?? { mayRead, mayPublish };
    this.#aedes = new Aedes({
      connectTimeout: CONNECT_TIMEOUT,
      drainTimeout: options.drainTimeout ?? DRAIN_TIMEOUT,
      preConnect: (client, packet, done) => this.#preConnect(client, packet, done),
      authenticate: (client, _user, _password, done) => this.#authenticate(client, done),
      authorizePublish: (client, packet, done) => this.#authorizePublish(client, packet, done),
      authorizeSubscribe: (client, subscription, done) => this.#authorizeSubscribe(client, subscription, done),
      authorizeForward: (client, packet) => this.#authorizeForward(client, packet),
    });
    this.#aedes.on('connackSent', (packet, client) => packet.returnCode === 0 && this.#onReady(client));
    this.#aedes.on('unsubscribe', (filters, client) => this.#onUnsubscribe(filters, client));
    this.#aedes.on('clientError', (client, error) => this.#onClientError(client, error));
    this.#aedes.on('connectionError', (client, error) => this.#onClientError(client, error));
    // Not in aedes' types; without a listener an error of its housekeeping would end the process.
    this.#aedes.addListener('error', (error: unknown) => this.#log.error('broker.failed', { error }));
    this.#ready = this.#aedes.listen();
  }

  attach(socket: Socket, identity: Identity): void {
    const session = new BrokerSession(socket, identity, (what, bytes) => this.#onViolation(session, what, bytes));
    this.#sessions.set(socket, session);
    socket.once('close', () => this.#evict(session));
    socket.on('error', (error) => this.#log.debug('broker.socket_failed', { client: session.path, error }));
    void this.#ready.then(() => {
      if (this.#closed || socket.destroyed) session.end();
      else this.#aedes.handle(socket);
    });
  }

  async publish(topic: string, payload: Buffer, { qos = 1, signal }: PublishOptions = {}): Promise<void> {
    this.#checkOutgoing(payload, signal);
    for (const session of this.#live.values()) {
      if (session.connected && session.hears(topic)) this.#fanOut(session, topic, payload, qos);
    }
    const queues = this.#queuesFor(topic);
    for (const queue of queues) queue.push({ topic, payload, accept: () => undefined });
    await Promise.all(queues.map((queue) => queue.room()));
  }

  async send(to: Identity, topic: string, payload: Buffer, { qos = 1, signal }: PublishOptions = {}): Promise<void> {
    this.#checkOutgoing(payload, signal);
    const path = identityPath(to);
    const sessions = this.#sessionsOf(to);
    if (sessions.length === 0) throw lost(path);
    if (!this.#policy.mayRead(to, topic)) throw new WardcastError('DENIED', `${path} may not read ${printable(topic)}`, { context: { client: path } });
    await Promise.all(
      sessions.map(async (session) => {
        if (!session.opened) await session.ready;
        // Bulk goes one message at a time, and its sender waits. Nobody waits with what has to be said.
        if (qos === 1) this.#evictIfBehind(session, topic);
        await session.send(topic, payload, qos, signal);
      }),
    );
  }

  subscribe(filters: readonly string[], { signal }: { signal?: AbortSignal | undefined } = {}): AsyncIterable<Delivery> {
    const queue = new DeliveryQueue(filters, (closed) => this.#queues.delete(closed), signal);
    if (this.#closed) queue.close();
    else if (!signal?.aborted) this.#queues.add(queue);
    return queue;
  }

  connected(identity: Identity): boolean {
    return this.#sessionsOf(identity).some((session) => session.alive);
  }

  onPresence(listener: (presence: Presence) => void): () => void {
    this.#presenceListeners.add(listener);
    return () => this.#presenceListeners.delete(listener);
  }

  onRefused(listener: (refusal: Refusal) => void): () => void {
    this.#refusedListeners.add(listener);
    return () => this.#refusedListeners.delete(listener);
  }

  disconnect(identity: Identity): void {
    for (const session of this.#sessionsOf(identity)) this.#evict(session);
  }

  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    await this.#ready;
    for (const session of this.#live.values()) this.#evict(session);
    await new Promise<void>((resolve) => this.#aedes.close(resolve));
    for (const queue of this.#queues) queue.close();
  }

  /** One for a daemon; several only for ops. */
  #sessionsOf(identity: Identity): BrokerSession[] {
    const path = identityPath(identity);
    if (identity.role === 'ops') return [...this.#live.values()].filter((session) => session.path === path);
    const session = this.#live.get(path);
    return session === undefined ? [] : [session];
  }

  // ── connecting ────────────────────────────────────────────────────────────────────────────────────────

  #preConnect(client: Client, packet: ConnectPacket, done: (error: Error | null, success: boolean) => void): void {
    const session = this.#sessions.get(client.conn);
    if (session === undefined) {
      done(new Error('no session'), false);
      return;
    }
    session.connectRefusal = refuseConnect(session, packet);
    if (session.connectRefusal === undefined) session.key = packet.clientId;
    // aedes would take MQTT 3.1 (3) too; any version outside 3 to 4 makes it answer "unacceptable protocol version".
    if (packet.protocolVersion !== 4) {
      this.#log.warn('broker.refused', {
        client: session.path,
        code: 'PROTOCOL_VIOLATION',
        message: `MQTT protocol level ${packet.protocolVersion}; 3.1.1 (level 4) is required`,
      });
      Object.assign(packet, { protocolVersion: 2 });
    }
    // A stored session would outlive the policy's decision on its subscriptions; MQTT lets a server answer "session not present" at any time.
    Object.assign(packet, { clean: true, will: undefined });
    done(null, true);
  }

  #authenticate(client: Client, done: (error: AuthenticateError | null, success: boolean | null) => void): void {
    const session = this.#sessions.get(client.conn);
    if (session === undefined || session.ended || this.#closed) {
      done(connackError('the broker is closing', 3), false);
      return;
    }
    const refusal = session.connectRefusal;
    if (refusal !== undefined) {
      this.#log.warn('broker.refused', { client: session.path, ...refusal.error.toJSON() });
      done(connackError(refusal.error.message, refusal.returnCode), false);
      return;
    }
    // MQTT 3.1.4-2, and only ever for the same certificate identity. Done here, not left to aedes, whose bookkeeping loses track when two take over at once.
    const older = this.#live.get(session.key);
    if (older !== undefined) {
      this.#log.info('broker.replaced', { client: session.key, address: session.address });
      this.#evict(older);
    } else if (session.identity.role === 'ops' && this.#sessionsOf(session.identity).length >= MAX_OPS_SESSIONS) {
      this.#log.warn('broker.refused', {
        client: session.key,
        code: 'LIMIT_EXCEEDED',
        message: `more than ${MAX_OPS_SESSIONS} sessions of one ops certificate`,
      });
      done(connackError('too many sessions', 3), false);
      return;
    }
    this.#live.set(session.key, session);
    done(null, true);
  }

  #onReady(client: Client): void {
    const session = this.#sessions.get(client.conn);
    if (session === undefined || session.ended) return;
    session.open(client);
    this.#log.info('broker.connected', { client: session.path, address: session.address });
    this.#tellPresence(session, true);
  }

  #evict(session: BrokerSession): void {
    const wasLive = this.#live.get(session.key) === session;
    const wasOpen = session.opened && !session.ended;
    session.end();
    if (wasLive) this.#live.delete(session.key);
    if (!wasOpen) return;
    this.#log.info('broker.disconnected', { client: session.path, address: session.address });
    this.#tellPresence(session, false);
  }

  #tellPresence(session: BrokerSession, connected: boolean): void {
    for (const listener of this.#presenceListeners) listener({ identity: session.identity, address: session.address, connected });
  }

  // ── what clients say ──────────────────────────────────────────────────────────────────────────────────

  /**
   * aedes sends PUBACK when `done` is called, before it stores or forwards anything: so the owner handles the message here, and `done` waits
   * for its acceptance. An error would close the connection, and mqtt.js would send the same message again for ever: what is refused is
   * acknowledged, goes nowhere, and its sender is told.
   */
  #authorizePublish(client: Client | null, packet: PublishPacket, done: (error?: Error | null) => void): void {
    const session = client === null ? undefined : this.#sessions.get(client.conn);
    if (session === undefined) {
      // The will of a crashed broker's client comes with client = null. We accept no wills, so this one is not ours.
      consume(packet);
      done(null);
      return;
    }
    const { topic, retain } = packet;
    const payload = bytesOf(packet);
    consume(packet);
    const refusal = this.#refusePublish(session, topic, payload, retain);
    if (refusal !== undefined) {
      this.#refuse(session, topic, refusal);
      done(null);
      return;
    }
    const queues = this.#queuesFor(topic);
    if (queues.length === 0) {
      this.#log.warn('broker.unheard', { client: session.path, topic });
      this.#tellRefused(session, topic, 'BUSY', 'Nobody handles this at the moment; say it again later.');
      done(null);
      return;
    }
    this.#deliver(session, topic, payload, queues, done);
  }

  #deliver(session: BrokerSession, topic: string, payload: Buffer, queues: readonly DeliveryQueue[], done: (error?: Error | null) => void): void {
    const release = session.hold(payload.length);
    let open = queues.length;
    let abandoned = false;
    const settle = (): void => {
      open--;
      if (open > 0) return;
      release();
      // Without an acknowledgement the sender keeps it, and says it again on its next connection.
      if (abandoned) this.#evict(session);
      else if (!session.ended) done(null);
    };
    for (const queue of queues) {
      let settled = false;
      const once = (): void => {
        if (settled) return;
        settled = true;
        settle();
      };
      const abandon = (): void => {
        abandoned = true;
        once();
      };
      queue.push({ topic, payload, from: session.identity, accept: once, abandon });
    }
  }

  #refusePublish(session: BrokerSession, topic: string, payload: Buffer, retain: boolean): WardcastError | undefined {
    if (topic.length > MAX_TOPIC) return new WardcastError('LIMIT_EXCEEDED', `A topic has at most ${MAX_TOPIC} characters`);
    if (!this.#policy.mayPublish(session.identity, topic)) return new WardcastError('DENIED', 'You may not publish to this topic');
    if (retain) return new WardcastError('DENIED', 'Retained messages are not kept here');
    if (payload.length > MAX_PAYLOAD) return new WardcastError('LIMIT_EXCEEDED', `A payload has at most ${MAX_PAYLOAD} bytes`);
    return undefined;
  }

  #authorizeSubscribe(client: Client, subscription: Subscription, done: (error: Error | null, subscription?: Subscription | null) => void): void {
    const session = this.#sessions.get(client.conn);
    if (session === undefined) {
      done(null, null);
      return;
    }
    const { topic } = subscription;
    const refusal = this.#refuseSubscription(session, topic);
    if (refusal !== undefined) {
      // SUBACK says 128 for this one (3.9.3); narrowing the filter to what is allowed would hide the mistake from an honest client.
      this.#refuse(session, topic, refusal);
      done(null, null);
      return;
    }
    session.filters.add(topic);
    done(null, subscription);
  }

  #refuseSubscription(session: BrokerSession, filter: string): WardcastError | undefined {
    if (filter.length > MAX_TOPIC) return new WardcastError('LIMIT_EXCEEDED', `A topic filter has at most ${MAX_TOPIC} characters`);
    if (!this.#policy.mayRead(session.identity, filter)) return new WardcastError('DENIED', 'You may not subscribe to this topic');
    if (session.filters.size >= MAX_SUBSCRIPTIONS && !session.filters.has(filter)) {
      return new WardcastError('LIMIT_EXCEEDED', `A client has at most ${MAX_SUBSCRIPTIONS} subscriptions`);
    }
    return undefined;
  }

  #onUnsubscribe(filters: readonly string[], client: Client): void {
    const session = this.#sessions.get(client.conn);
    for (const filter of filters) session?.filters.delete(filter);
  }

  #refuse(session: BrokerSession, topic: string, error: WardcastError): void {
    session.refused++;
    const fields = { client: session.path, topic: printable(topic), code: error.code, message: error.message };
    if (session.refused <= MAX_LOGGED_REFUSALS) this.#log.warn('broker.refused', fields);
    else this.#log.debug('broker.refused', fields);
    for (const listener of this.#refusedListeners) listener({ who: session.identity, topic: printable(topic), code: error.code });
    this.#tellRefused(session, topic, error.code, error.message);
    if (session.refused < MAX_REFUSED_PUBLISHES) return;
    this.#log.warn('broker.closed_refused', { client: session.path, refused: session.refused });
    // After the current packets are acknowledged: an unacknowledged one would come again with the next connection.
    setImmediate(() => this.#evict(session));
  }

  #tellRefused(session: BrokerSession, topic: string, code: ErrorCode, message: string): void {
    const to = down(session.identity, 'refused');
    this.#evictIfBehind(session, to);
    if (session.ended) return;
    session.write(to, Buffer.from(JSON.stringify({ topic: printable(topic), code, message })), 0);
  }

  // ── what clients hear ─────────────────────────────────────────────────────────────────────────────────

  /** The last look before bytes leave, keyed on the certificate: whatever led here, nobody hears what the policy does not let it hear. */
  #authorizeForward(client: Client, packet: Forward): Forward | null {
    const session = this.#sessions.get(client.conn);
    if (session === undefined || session.ended || !this.#policy.mayRead(session.identity, packet.topic)) return null;
    return packet;
  }

  /** Never waits for one subscriber, so that none holds up the others; a frozen one is dropped by aedes after the drain timeout. */
  #fanOut(session: BrokerSession, topic: string, payload: Buffer, qos: 0 | 1): void {
    if (qos === 1) this.#evictIfBehind(session, topic);
    if (session.ended) return;
    if (session.behind) this.#log.warn('broker.behind', { client: session.path, topic, unsent: session.unsent });
    else session.write(topic, payload, qos);
  }

  /** What has to be said can neither be left out nor pile up until the drain timeout: at its next connection the client is told anew. */
  #evictIfBehind(session: BrokerSession, topic: string): void {
    if (session.ended || !session.behind) return;
    this.#log.warn('broker.behind', { client: session.path, topic, unsent: session.unsent });
    this.#evict(session);
  }

  #queuesFor(topic: string): DeliveryQueue[] {
    return [...this.#queues].filter((queue) => queue.matches(topic));
  }

  #checkOutgoing(payload: Buffer, signal: AbortSignal | undefined): void {
    if (signal?.aborted) throw new WardcastError('ABORTED', 'The work was cancelled', { cause: signal.reason });
    if (this.#closed) throw new WardcastError('CONNECTION_LOST', 'The broker is closed');
    if (payload.length > MAX_PAYLOAD) throw new WardcastError('LIMIT_EXCEEDED', `A payload of ${payload.length} bytes is over the limit of ${MAX_PAYLOAD}`);
  }

  // ── what goes wrong ───────────────────────────────────────────────────────────────────────────────────

  #onViolation(session: BrokerSession, what: string, bytes: Buffer): void {
    const told = session.guard.packets <= 1 ? readNotice(bytes) : undefined;
    if (told !== undefined)
      this.#log.warn('broker.refused_by_client', { client: session.path, address: session.address, code: told.code, message: printable(told.message) });
    else this.#log.warn('broker.refused', { client: session.path, address: session.address, code: 'PROTOCOL_VIOLATION', message: what });
    this.#evict(session);
    session.socket.destroy();
  }

  #onClientError(client: Client, error: Error): void {
    const session = this.#sessions.get(client.conn);
    if (session === undefined || session.ended || session.connectRefusal !== undefined) return;
    this.#log.info('broker.client_failed', { client: session.path, address: session.address, message: printable(error.message) });
  }
}
