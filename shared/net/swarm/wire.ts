import type { TLSSocket } from 'node:tls';
import { ERROR_CODES, type ErrorCode, toWardcastError, WardcastError } from '../../base/errors.ts';
import type { Identity } from '../../base/identity.ts';
import { MAX_FRAME_INDEXES, MAX_WIRE_UNSENT, REFUSAL_LINGER, WIRE_BATCH, WIRE_IDLE, WIRE_KEEPALIVE, WIRE_READ_BUFFER, WIRE_SMALL } from '../../base/limits.ts';
import { type DialOptions, dial } from '../dial.ts';
import { swarmNotice } from '../refusal-notice.ts';
import type { Bitfield } from './bitfield.ts';
import { type Frame, FrameReader, printChunkHead, printFrame, SWARM_PROTOCOL } from './frames.ts';
import { ReadPace } from './read-pace.ts';
import { Turn } from './turn.ts';

/** What the other side of a wire says. `transfer` is its own number for a manifest. Nothing comes after onClosed. */
export interface WireListener {
  onJoin(transfer: number, join: { readonly manifest: string; readonly fetching: boolean; readonly uploads: boolean; readonly have: Bitfield }): void;
  onHave(transfer: number, indexes: readonly number[]): void;
  onAsk(transfer: number, indexes: readonly number[]): void;
  onAny(transfer: number, count: number): void;
  /** Not verified; the buffer belongs to the listener. */
  onChunk(transfer: number, index: number, bytes: Buffer): void;
  onAbsent(transfer: number, index: number, reason: 'absent' | 'busy'): void;
  onCancel(transfer: number, indexes: readonly number[]): void;
  onLeave(transfer: number): void;
  onGot(transfer: number, index: number): void;
  /** Exactly once, never from within a call to the wire. CONNECTION_LOST, PROTOCOL_VIOLATION, CERT_REFUSED_BY_PEER, or what close() was given. */
  onClosed(error: WardcastError): void;
}

/** Decrypted bytes are handed over one wire after the other and read at once: one buffer serves all. */
const READ_BUFFER = Buffer.allocUnsafeSlow(WIRE_READ_BUFFER);

/** Of all wires of the process together. */
export const TURN = new Turn(new ReadPace());

/** One connection of the swarm: frames in both directions, between two ends that proved themselves. It decides nothing. */
export class Wire {
  readonly identity: Identity;
  /** host:port of the other side. */
  readonly address: string;
  readonly #socket: TLSSocket;
  readonly #reader = new FrameReader();
  #listener: WireListener | undefined;
  /** What came before anybody listened; the socket is paused then. */
  #early: Buffer[] = [];
  #outbox: Buffer[] = [];
  #outboxBytes = 0;
  #received = 0;
  #sent = 0;
  #closed: WardcastError | undefined;
  /** Nothing is told any more. */
  #mute = false;

  private constructor(socket: TLSSocket, identity: Identity, address: string) {
    this.#socket = socket;
    this.identity = identity;
    this.address = address;
    socket.setNoDelay(true).setKeepAlive(true, WIRE_KEEPALIVE);
    socket.setTimeout(WIRE_IDLE, () => this.#end(this.#lost(`was silent for ${WIRE_IDLE / 60_000} minutes`)));
    socket.on('error', (error) => this.#break(toWardcastError(error, 'CONNECTION_LOST', `The connection to ${address} broke`)));
    for (const event of ['end', 'close'] as const) socket.on(event, () => this.#break(this.#lost('was ended by the other side')));
  }

  /** @throws as dial() */
  static async dial(options: Omit<DialOptions, 'onRead' | 'protocol'>): Promise<Wire> {
    let wire: Wire | undefined;
    const early: Buffer[] = [];
    const callback = (count: number): boolean => {
      const bytes = READ_BUFFER.subarray(0, count);
      if (wire !== undefined) return wire.#read(bytes);
      early.push(Buffer.from(bytes));
      return false;
    };
    const { socket, identity } = await dial({ ...options, protocol: SWARM_PROTOCOL, onRead: { buffer: READ_BUFFER, callback } });
    wire = new Wire(socket, identity, `${options.host}:${options.port}`);
    wire.#early = early;
    // Gone between the handshake and here: no event will say so.
    if (socket.destroyed) wire.#break(wire.#lost('was ended by the other side'));
    return wire;
  }

  /** The accepting end, of a socket that a door proved and hands to onSwarm. */
  static accept(socket: TLSSocket, identity: Identity): Wire {
    const wire = new Wire(socket, identity, `${socket.remoteAddress}:${socket.remotePort}`);
    if (socket.destroyed) wire.#break(wire.#lost('was ended by the other side'));
    return wire;
  }

  /** Tells what came before, and everything from now on. Once. */
  listen(listener: WireListener): void {
    this.#listener = listener;
    const early = this.#early;
    this.#early = [];
    for (const bytes of early) this.#read(bytes);
    if (this.#closed !== undefined) {
      this.#tellClosed(listener, this.#closed);
      return;
    }
    this.#socket.on('data', (bytes: Buffer) => this.#read(bytes));
    this.#socket.resume();
  }

  join(transfer: number, manifest: string, flags: { readonly fetching: boolean; readonly uploads: boolean }, have: Bitfield): void {
    this.#say({ type: 'join', transfer, manifest, fetching: flags.fetching, uploads: flags.uploads, have });
  }

  have(transfer: number, indexes: readonly number[]): void {
    this.#list('have', transfer, indexes);
  }

  ask(transfer: number, indexes: readonly number[]): void {
    this.#list('ask', transfer, indexes);
  }

  cancel(transfer: number, indexes: readonly number[]): void {
    this.#list('cancel', transfer, indexes);
  }

  any(transfer: number, count: number): void {
    this.#say({ type: 'any', transfer, count });
  }

  absent(transfer: number, index: number, reason: 'absent' | 'busy'): void {
    this.#say({ type: 'absent', transfer, index, reason });
  }

  leave(transfer: number): void {
    this.#say({ type: 'leave', transfer });
  }

  got(transfer: number, index: number): void {
    this.#say({ type: 'got', transfer, index });
  }

  /** `bytes` must stay as they are until they are sent. */
  chunk(transfer: number, index: number, bytes: Buffer): void {
    if (this.#closed !== undefined) return;
    this.#sent += bytes.length;
    this.#put(printChunkHead(transfer, index, bytes.length));
    this.#put(bytes);
  }

  /** Bytes that the kernel has not taken yet. */
  get unsent(): number {
    return this.#closed === undefined ? this.#outboxBytes + this.#socket.writableLength : 0;
  }

  /** Bytes of chunks that came whole or in part… */
  get received(): number {
    return this.#received;
  }

  /** …and that were given to the socket. */
  get sent(): number {
    return this.#sent;
  }

  get closed(): boolean {
    return this.#closed !== undefined;
  }

  /** Sends what waits, and with an error its code, which is all that the other side learns of it. */
  close(error?: WardcastError): void {
    if (this.#closed !== undefined) return;
    if (error !== undefined) this.#put(swarmNotice(error));
    this.#end(error ?? this.#lost('was closed here'));
  }

  // ── reading ───────────────────────────────────────────────────────────────────────────────────────────

  /** @returns false to pause the socket */
  #read(bytes: Buffer): boolean {
    if (this.#mute) return true;
    if (this.#listener === undefined) {
      this.#early.push(Buffer.from(bytes));
      return false;
    }
    try {
      this.#reader.push(bytes, this.#tell);
    } catch (error) {
      this.close(toWardcastError(error, 'PROTOCOL_VIOLATION', `${this.address} sent what cannot be read`));
    }
    return true;
  }

  readonly #tell = (frame: Frame): void => {
    const listener = this.#listener;
    if (listener === undefined || this.#mute) return;
    switch (frame.type) {
      case 'chunk':
        this.#received += frame.bytes.length;
        TURN.came(frame.bytes.length);
        listener.onChunk(frame.transfer, frame.index, frame.bytes);
        return;
      case 'join':
        listener.onJoin(frame.transfer, frame);
        return;
      case 'have':
        listener.onHave(frame.transfer, frame.indexes);
        return;
      case 'ask':
        listener.onAsk(frame.transfer, frame.indexes);
        return;
      case 'cancel':
        listener.onCancel(frame.transfer, frame.indexes);
        return;
      case 'any':
        listener.onAny(frame.transfer, frame.count);
        return;
      case 'absent':
        listener.onAbsent(frame.transfer, frame.index, frame.reason);
        return;
      case 'leave':
        listener.onLeave(frame.transfer);
        return;
      case 'got':
        listener.onGot(frame.transfer, frame.index);
        return;
      case 'refused':
        this.#end(this.#refused(frame.code));
    }
  };

  // ── writing ───────────────────────────────────────────────────────────────────────────────────────────

  #list(type: 'have' | 'ask' | 'cancel', transfer: number, indexes: readonly number[]): void {
    for (let at = 0; at < indexes.length; at += MAX_FRAME_INDEXES) this.#say({ type, transfer, indexes: indexes.slice(at, at + MAX_FRAME_INDEXES) });
  }

  #say(frame: Exclude<Frame, { type: 'chunk' }>): void {
    if (this.#closed !== undefined) return;
    this.#put(printFrame(frame));
    if (this.unsent > MAX_WIRE_UNSENT) this.#break(new WardcastError('CONNECTION_LOST', `${this.address} does not read what it is told`));
  }

  /** What is said in one turn of the event loop leaves in one write. */
  #put(bytes: Buffer): void {
    this.#outbox.push(bytes);
    this.#outboxBytes += bytes.length;
    if (this.#outboxBytes >= WIRE_BATCH) this.#flush();
    else TURN.write(this.#flush);
  }

  readonly #flush = (): void => {
    const leaving = joinSmall(this.#outbox);
    const last = leaving.pop();
    if (last === undefined) return;
    this.#outbox = [];
    this.#outboxBytes = 0;
    if (!this.#socket.writable) return;
    this.#socket.cork();
    for (const bytes of leaving) this.#socket.write(bytes);
    this.#socket.write(last);
    this.#socket.uncork();
  };

  // ── closing ───────────────────────────────────────────────────────────────────────────────────────────

  /** By our own will: what waits is sent. */
  #end(error: WardcastError): void {
    if (this.#closed !== undefined) return;
    this.#early = [];
    this.#flush();
    this.#finish(error);
    this.#socket.end();
    // Read on until the other side ends too: closing over unread bytes resets the connection, and our last words are lost.
    this.#socket.resume();
    const timer = setTimeout(() => this.#socket.destroy(), REFUSAL_LINGER);
    this.#socket.once('end', () => this.#socket.destroy());
    this.#socket.once('close', () => clearTimeout(timer));
  }

  /** The connection is gone. */
  #break(error: WardcastError): void {
    if (this.#closed !== undefined) return;
    this.#finish(error);
    this.#socket.destroy();
  }

  #finish(error: WardcastError): void {
    this.#closed = error;
    this.#outbox = [];
    this.#outboxBytes = 0;
    if (this.#listener !== undefined) this.#tellClosed(this.#listener, error);
  }

  #tellClosed(listener: WireListener, error: WardcastError): void {
    this.#mute = true;
    queueMicrotask(() => listener.onClosed(error));
  }

  #lost(how: string): WardcastError {
    return new WardcastError('CONNECTION_LOST', `The connection to ${this.address} ${how}`);
  }

  #refused(code: string): WardcastError {
    const reason = isErrorCode(code) ? `${ERROR_CODES[code]} (${code})` : code;
    if (!code.startsWith('CERT_')) {
      return new WardcastError('CONNECTION_LOST', `${this.address} closed the connection: ${reason}`, { context: { refused: code } });
    }
    return new WardcastError('CERT_REFUSED_BY_PEER', `${this.address} refused us: ${reason}`, {
      remedy: 'The log of that daemon says more (event door.refused).',
      context: { refused: code },
    });
  }
}

function isErrorCode(code: string): code is ErrorCode {
  return Object.hasOwn(ERROR_CODES, code);
}

/** Small frames that follow each other, in one buffer: a socket that is not read keeps what waits, and each of a million little buffers costs ten times its bytes. */
function joinSmall(buffers: readonly Buffer[]): Buffer[] {
  const joined: Buffer[] = [];
  let small: Buffer[] = [];
  const flush = (): void => {
    const [only] = small;
    if (only !== undefined) joined.push(small.length === 1 ? only : Buffer.concat(small));
    small = [];
  };
  for (const bytes of buffers) {
    if (bytes.length < WIRE_SMALL) small.push(bytes);
    else {
      flush();
      joined.push(bytes);
    }
  }
  flush();
  return joined;
}
