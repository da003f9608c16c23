import type { Socket } from 'node:net';
import type { Client } from 'aedes';
import { WardcastError } from '../base/errors.ts';
import { type Identity, identityPath } from '../base/identity.ts';
import { MAX_HELD_BYTES, MAX_HELD_PUBLISHES, MAX_SEND_QUEUE, MAX_UNSENT_MESSAGES } from '../base/limits.ts';
import { covers } from '../wire/policy.ts';
import { CONNECT, PacketGuard } from './packet-guard.ts';

/** Why a CONNECT is answered with a CONNACK other than 0 (MQTT 3.1.1, table 3.1: 2 identifier rejected, 5 not authorized). */
export interface ConnectRefusal {
  readonly returnCode: 2 | 5;
  readonly error: WardcastError;
}

/** One connection to the embedded broker, from the handshake to the end of its socket. Keyed on the certificate, never on what the client says. */
export class BrokerSession {
  readonly identity: Identity;
  readonly path: string;
  /** The client id once CONNECT was read; at most one live session has it. */
  key: string;
  readonly address: string;
  readonly socket: Socket;
  readonly guard = new PacketGuard({ first: CONNECT });
  readonly filters = new Set<string>();
  connectRefusal: ConnectRefusal | undefined;
  /** Publishes and subscriptions that were refused on this connection. */
  refused = 0;
  readonly #ready = Promise.withResolvers<void>();
  #client: Client | undefined;
  #ended = false;
  #heldPublishes = 0;
  #heldBytes = 0;
  #unsentMessages = 0;
  #unsentBytes = 0;
  #bulkTurn: Promise<void> = Promise.resolve();

  constructor(socket: Socket, identity: Identity, onViolation: (what: string, bytes: Buffer) => void) {
    this.socket = socket;
    this.identity = identity;
    this.path = identityPath(identity);
    this.key = this.path;
    this.address = socket.remoteAddress ?? '';
    this.#guardReads(onViolation);
  }

  /** The socket lives; CONNACK may still be on its way. */
  get alive(): boolean {
    return !this.#ended && !this.socket.destroyed && this.#client?.closed !== true;
  }

  /** CONNACK is out and the socket lives. */
  get connected(): boolean {
    return this.#client !== undefined && this.alive;
  }

  /** CONNACK was sent, whatever happened since. */
  get opened(): boolean {
    return this.#client !== undefined;
  }

  /** Resolves when it is opened or has ended. */
  get ready(): Promise<void> {
    return this.#ready.promise;
  }

  get ended(): boolean {
    return this.#ended;
  }

  /** CONNACK was handed to the socket: from now on the client may be written to. */
  open(client: Client): void {
    this.#client = client;
    this.#ready.resolve();
  }

  end(): void {
    this.#ended = true;
    this.#ready.resolve();
    this.socket.destroy();
  }

  /** Payload bytes that the socket has not taken yet. */
  get unsent(): number {
    return this.#unsentBytes;
  }

  /** More waits for the client to read than it may leave lying. */
  get behind(): boolean {
    return this.#unsentMessages > MAX_UNSENT_MESSAGES || this.#unsentBytes > MAX_SEND_QUEUE;
  }

  hears(topic: string): boolean {
    for (const filter of this.filters) if (covers(filter, topic)) return true;
    return false;
  }

  /** Counts a publish that the owner has not accepted yet; call the result once when it has. */
  hold(bytes: number): () => void {
    this.#heldPublishes++;
    this.#heldBytes += bytes;
    return () => {
      this.#heldPublishes--;
      this.#heldBytes -= bytes;
    };
  }

  /** Writes without waiting. aedes' own fan-out is never used: its emitter waits for the slowest subscriber and holds up all others. */
  write(topic: string, payload: Buffer, qos: 0 | 1, written: () => void = () => undefined): void {
    if (this.#client === undefined) return;
    this.#unsentMessages++;
    this.#unsentBytes += payload.length;
    this.#client.publish({ cmd: 'publish', topic, payload, qos, retain: false, dup: false }, () => {
      this.#unsentMessages--;
      this.#unsentBytes -= payload.length;
      written();
    });
  }

  /**
   * Writes and waits until the socket took it. Bulk (QoS 0) goes one message at a time, so that a control message (QoS 1) never
   * finds more than one payload before it in the socket.
   * @throws CONNECTION_LOST
   */
  async send(topic: string, payload: Buffer, qos: 0 | 1, signal: AbortSignal | undefined): Promise<void> {
    if (qos === 1) return this.#written(topic, payload, qos);
    const { promise, resolve } = Promise.withResolvers<void>();
    const turn = this.#bulkTurn;
    this.#bulkTurn = promise;
    await turn;
    try {
      if (signal?.aborted) throw new WardcastError('ABORTED', 'The work was cancelled', { cause: signal.reason });
      await this.#written(topic, payload, qos);
    } finally {
      resolve();
    }
  }

  async #written(topic: string, payload: Buffer, qos: 0 | 1): Promise<void> {
    // aedes calls back without an error when the socket breaks: the session's own state tells.
    if (this.connected) await new Promise<void>((resolve) => this.write(topic, payload, qos, resolve));
    if (!this.connected) throw lost(this.path);
  }

  /**
   * aedes pulls with `socket.read()`: the one place where every byte passes, at no cost in streams. Two things are done here that aedes lacks:
   * lengths are checked before it buffers, and nothing is read while the owner has not accepted enough of what came before (aedes itself
   * reads on with every `readable` event; each acceptance makes it call read() again).
   */
  #guardReads(onViolation: (what: string, bytes: Buffer) => void): void {
    const read = this.socket.read.bind(this.socket);
    this.socket.read = (size?: number): unknown => {
      if (size !== 0 && (this.#heldPublishes >= MAX_HELD_PUBLISHES || this.#heldBytes >= MAX_HELD_BYTES)) return null;
      const bytes: unknown = read(size);
      if (!Buffer.isBuffer(bytes)) return bytes;
      const wrong = this.guard.push(bytes);
      if (wrong === undefined) return bytes;
      onViolation(wrong, bytes);
      return null;
    };
  }
}

export function lost(path: string): WardcastError {
  return new WardcastError('CONNECTION_LOST', `${path} is not connected`, { context: { client: path } });
}
