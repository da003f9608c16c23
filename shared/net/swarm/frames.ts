import { WardcastError } from '../../base/errors.ts';
import { MAX_CHUNKS, MAX_FRAME_INDEXES, MAX_WIRE_CHUNK } from '../../base/limits.ts';
import { Bitfield } from './bitfield.ts';

/** The application protocol (ALPN) that speaks these frames. */
export const SWARM_PROTOCOL = 'wardcast-swarm/1';

/**
 * A frame: u32 length of what follows · u8 type · u16 transfer · body; all numbers big-endian. A transfer is one manifest; each side numbers its own,
 * and chunks count from 0 in the order of `chunkSizes(manifest)`.
 */
export type Frame =
  /** Why the sender closes; its last word. Body: the error code, ASCII. */
  | { readonly type: 'refused'; readonly transfer: number; readonly code: string }
  /** Body: manifest 32 bytes · u8 flags (1: fetching, 2: does not upload) · u32 number of chunks · bitfield. */
  | {
      readonly type: 'join';
      readonly transfer: number;
      readonly manifest: string;
      readonly fetching: boolean;
      readonly uploads: boolean;
      readonly have: Bitfield;
    }
  /** Body: u32 index… */
  | { readonly type: 'have' | 'ask' | 'cancel'; readonly transfer: number; readonly indexes: readonly number[] }
  /** Body: u32 count. */
  | { readonly type: 'any'; readonly transfer: number; readonly count: number }
  /** Body: u32 index · bytes. */
  | { readonly type: 'chunk'; readonly transfer: number; readonly index: number; readonly bytes: Buffer }
  /** Body: u32 index · u8 reason. */
  | { readonly type: 'absent'; readonly transfer: number; readonly index: number; readonly reason: 'absent' | 'busy' }
  /** No body. */
  | { readonly type: 'leave'; readonly transfer: number }
  /** Body: u32 index. */
  | { readonly type: 'got'; readonly transfer: number; readonly index: number };

const TYPES = ['refused', 'join', 'have', 'ask', 'any', 'chunk', 'absent', 'cancel', 'leave', 'got'] as const;
type Type = (typeof TYPES)[number];

const HEAD = 7;
/** Bytes of type and transfer, which the length counts too. */
const PREFIX = 3;
const INDEX = 4;
const CHUNK_HEAD = HEAD + INDEX;
const HASH = 32;
const JOIN_FIXED = HASH + 1 + 4;
const FETCHING = 1;
const KEEPS = 2;
const REASONS = ['absent', 'busy'] as const;
const MAX_CODE = 64;

/** Fewest and most bytes of a body. */
const BODY: Readonly<Record<Type, readonly [number, number]>> = {
  refused: [1, MAX_CODE],
  join: [JOIN_FIXED, JOIN_FIXED + Math.ceil(MAX_CHUNKS / 8)],
  have: [INDEX, INDEX * MAX_FRAME_INDEXES],
  ask: [INDEX, INDEX * MAX_FRAME_INDEXES],
  cancel: [INDEX, INDEX * MAX_FRAME_INDEXES],
  any: [4, 4],
  chunk: [INDEX + 1, INDEX + MAX_WIRE_CHUNK],
  absent: [INDEX + 1, INDEX + 1],
  leave: [0, 0],
  got: [INDEX, INDEX],
};

/** What stands before the bytes of a chunk. */
export function printChunkHead(transfer: number, index: number, length: number): Buffer {
  const head = Buffer.allocUnsafe(CHUNK_HEAD);
  writeHead(head, 'chunk', transfer, INDEX + length);
  head.writeUInt32BE(index, HEAD);
  return head;
}

/** A frame's bytes. */
export function printFrame(frame: Frame): Buffer {
  if (frame.type === 'chunk') return Buffer.concat([printChunkHead(frame.transfer, frame.index, frame.bytes.length), frame.bytes]);
  if (frame.type === 'absent') return printAbsent(frame);
  const body = printBody(frame);
  const head = Buffer.allocUnsafe(HEAD);
  writeHead(head, frame.type, frame.transfer, body.length);
  return Buffer.concat([head, body]);
}

function writeHead(head: Buffer, type: Type, transfer: number, body: number): void {
  head.writeUInt32BE(PREFIX + body, 0);
  head.writeUInt8(TYPES.indexOf(type), 4);
  head.writeUInt16BE(transfer, 5);
}

/** In one piece: one frame of asks may have 16,384 of these for an answer. */
function printAbsent({ transfer, index, reason }: Extract<Frame, { type: 'absent' }>): Buffer {
  const bytes = Buffer.allocUnsafe(HEAD + INDEX + 1);
  writeHead(bytes, 'absent', transfer, INDEX + 1);
  bytes.writeUInt32BE(index, HEAD);
  bytes.writeUInt8(REASONS.indexOf(reason), HEAD + INDEX);
  return bytes;
}

function printBody(frame: Exclude<Frame, { type: 'chunk' | 'absent' }>): Buffer {
  switch (frame.type) {
    case 'refused':
      return Buffer.from(frame.code.slice(0, MAX_CODE), 'latin1');
    case 'join': {
      const fixed = Buffer.alloc(JOIN_FIXED);
      fixed.write(frame.manifest, 'hex');
      fixed.writeUInt8((frame.fetching ? FETCHING : 0) | (frame.uploads ? 0 : KEEPS), HASH);
      fixed.writeUInt32BE(frame.have.length, HASH + 1);
      return Buffer.concat([fixed, frame.have.bytes()]);
    }
    case 'have':
    case 'ask':
    case 'cancel': {
      const body = Buffer.allocUnsafe(INDEX * frame.indexes.length);
      for (const [at, index] of frame.indexes.entries()) body.writeUInt32BE(index, INDEX * at);
      return body;
    }
    case 'any':
      return u32(frame.count);
    case 'got':
      return u32(frame.index);
    case 'leave':
      return Buffer.alloc(0);
  }
}

/**
 * Cuts a stream into frames, however it is split. Holds one unfinished frame, whose length is checked before memory is taken for it; a chunk is copied
 * once, into its own buffer, so that `bytes` may be overwritten afterwards.
 */
export class FrameReader {
  readonly #head = Buffer.alloc(CHUNK_HEAD);
  #headFill = 0;
  /** Bytes of the head: of a chunk's, the index too. */
  #headSize = HEAD;
  #body: Buffer | undefined;
  #bodyFill = 0;

  /** Between two frames: the stream may end here. */
  get clean(): boolean {
    return this.#headFill === 0;
  }

  /** Tells every frame that ends in `bytes`, in order. @throws PROTOCOL_VIOLATION, after which the reader is of no use any more */
  push(bytes: Buffer, tell: (frame: Frame) => void): void {
    let at = 0;
    while (at < bytes.length) at = this.#body === undefined ? this.#readHead(bytes, at, tell) : this.#readBody(this.#body, bytes, at, tell);
  }

  #readHead(bytes: Buffer, at: number, tell: (frame: Frame) => void): number {
    const taken = bytes.copy(this.#head, this.#headFill, at, Math.min(bytes.length, at + this.#headSize - this.#headFill));
    const now = at + taken;
    this.#headFill += taken;
    if (this.#headFill < this.#headSize) return now;
    const { type, size } = readHead(this.#head);
    if (type === 'chunk') {
      if (this.#headSize === HEAD) this.#headSize = CHUNK_HEAD;
      else this.#body = Buffer.allocUnsafeSlow(size - INDEX);
      return now;
    }
    if (bytes.length - now < size) this.#body = Buffer.allocUnsafe(size);
    else this.#end(bytes.subarray(now, now + size), tell);
    return this.#body === undefined ? now + size : now;
  }

  #readBody(body: Buffer, bytes: Buffer, at: number, tell: (frame: Frame) => void): number {
    const taken = bytes.copy(body, this.#bodyFill, at, Math.min(bytes.length, at + body.length - this.#bodyFill));
    this.#bodyFill += taken;
    if (this.#bodyFill === body.length) this.#end(body, tell);
    return at + taken;
  }

  #end(body: Buffer, tell: (frame: Frame) => void): void {
    const frame = parse(this.#head, body);
    this.#headFill = 0;
    this.#headSize = HEAD;
    this.#body = undefined;
    this.#bodyFill = 0;
    tell(frame);
  }
}

/** @throws PROTOCOL_VIOLATION for a type that is unknown, or a length that it cannot have */
function readHead(head: Buffer): { readonly type: Type; readonly size: number } {
  const number = head.readUInt8(4);
  const type = TYPES[number];
  if (type === undefined) throw violation(`a frame of type ${number}, which there is none of`);
  const size = head.readUInt32BE(0) - PREFIX;
  const [least, most] = BODY[type];
  if (size < least || size > most || (isList(type) && size % INDEX !== 0)) throw violation(`a frame "${type}" with a body of ${size} bytes`);
  return { type, size };
}

/** @throws PROTOCOL_VIOLATION */
function parse(head: Buffer, body: Buffer): Frame {
  const { type } = readHead(head);
  const transfer = head.readUInt16BE(5);
  switch (type) {
    case 'refused':
      return { type, transfer, code: parseCode(body) };
    case 'join':
      return { type, transfer, ...parseJoin(body) };
    case 'have':
    case 'ask':
    case 'cancel':
      return { type, transfer, indexes: Array.from({ length: body.length / INDEX }, (_, at) => checked(body.readUInt32BE(INDEX * at), MAX_CHUNKS - 1)) };
    case 'any':
      return { type, transfer, count: checked(body.readUInt32BE(0), MAX_CHUNKS) };
    case 'chunk':
      return { type, transfer, index: checked(head.readUInt32BE(HEAD), MAX_CHUNKS - 1), bytes: body };
    case 'absent':
      return { type, transfer, index: checked(body.readUInt32BE(0), MAX_CHUNKS - 1), reason: parseReason(body.readUInt8(INDEX)) };
    case 'leave':
      return { type, transfer };
    case 'got':
      return { type, transfer, index: checked(body.readUInt32BE(0), MAX_CHUNKS - 1) };
  }
}

function parseJoin(body: Buffer): { manifest: string; fetching: boolean; uploads: boolean; have: Bitfield } {
  const flags = body.readUInt8(HASH);
  if ((flags & ~(FETCHING | KEEPS)) !== 0) throw violation(`flags ${flags} that have no meaning`);
  const have = Bitfield.of(body.subarray(JOIN_FIXED), checked(body.readUInt32BE(HASH + 1), MAX_CHUNKS));
  return { manifest: body.toString('hex', 0, HASH), fetching: (flags & FETCHING) !== 0, uploads: (flags & KEEPS) === 0, have };
}

function parseCode(body: Buffer): string {
  const code = body.toString('latin1');
  if (!/^[A-Z_]+$/.test(code)) throw violation('a refusal without a code');
  return code;
}

function parseReason(number: number): 'absent' | 'busy' {
  const reason = REASONS[number];
  if (reason === undefined) throw violation(`a reason ${number} that has no meaning`);
  return reason;
}

function checked(number: number, most: number): number {
  if (number > most) throw violation(`the number ${number}, where ${most} is the limit`);
  return number;
}

function isList(type: Type): boolean {
  return type === 'have' || type === 'ask' || type === 'cancel';
}

function u32(number: number): Buffer {
  const bytes = Buffer.allocUnsafe(4);
  bytes.writeUInt32BE(number);
  return bytes;
}

function violation(what: string): WardcastError {
  return new WardcastError('PROTOCOL_VIOLATION', `The other side sent ${what}`, { remedy: 'Is this a Wardcast daemon of the same version?' });
}
