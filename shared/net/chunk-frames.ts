import { WardcastError } from '../base/errors.ts';

/** The answer to a batch of chunks: for each hash asked, in order, its length (u32 big-endian) and its bytes; ABSENT instead of a length: not here. */
const ABSENT = 0xffffffff;
const HEADER = 4;
export const ABSENT_FRAME = Buffer.from([0xff, 0xff, 0xff, 0xff]);
/** Bytes of one hash in a request. */
export const HASH_BYTES = 32;

export function frameHeader(length: number): Buffer {
  const header = Buffer.allocUnsafe(HEADER);
  header.writeUInt32BE(length);
  return header;
}

/** The body of a request. */
export function printHashes(hashes: readonly string[]): Buffer {
  return Buffer.from(hashes.join(''), 'hex');
}

/** Undefined when this is no list of hashes. */
export function parseHashes(body: Buffer): string[] | undefined {
  if (body.length === 0 || body.length % HASH_BYTES !== 0) return undefined;
  const hex = body.toString('hex');
  return Array.from({ length: body.length / HASH_BYTES }, (_, index) => hex.slice(index * 64, index * 64 + 64));
}

/** Cuts an answer into frames as it streams in, however it is split; holds one frame, no longer than `maxFrame` bytes. */
export class FrameParser {
  readonly #maxFrame: number;
  readonly #header = Buffer.alloc(HEADER);
  #headerFill = 0;
  #body: Buffer | undefined;
  #bodyFill = 0;

  constructor(maxFrame: number) {
    this.#maxFrame = maxFrame;
  }

  /** The frames that end in `bytes`; undefined stands for an absent chunk. @throws PROTOCOL_VIOLATION for a frame that is too long */
  *push(bytes: Buffer): Generator<Buffer | undefined> {
    let at = 0;
    while (at < bytes.length) {
      if (this.#body === undefined) {
        at = this.#readHeader(bytes, at);
        if (this.#headerFill < HEADER) return;
        const length = this.#header.readUInt32BE();
        this.#headerFill = 0;
        if (length === ABSENT) {
          yield undefined;
          continue;
        }
        if (length > this.#maxFrame) throw new WardcastError('PROTOCOL_VIOLATION', `A chunk of ${length} bytes was announced; ${this.#maxFrame} is the limit`);
        this.#body = Buffer.allocUnsafeSlow(length);
        this.#bodyFill = 0;
      }
      const body: Buffer = this.#body;
      const taken = bytes.copy(body, this.#bodyFill, at);
      at += taken;
      this.#bodyFill += taken;
      if (this.#bodyFill < body.length) return;
      this.#body = undefined;
      yield body;
    }
  }

  /** Between two frames: the answer may end here. */
  get clean(): boolean {
    return this.#body === undefined && this.#headerFill === 0;
  }

  #readHeader(bytes: Buffer, at: number): number {
    const taken = bytes.copy(this.#header, this.#headerFill, at, Math.min(bytes.length, at + HEADER - this.#headerFill));
    this.#headerFill += taken;
    return at + taken;
  }
}
