import { WardcastError } from '../../base/errors.ts';

/** Which of `length` chunks somebody has: bit 7 of the first byte is chunk 0; bits beyond the last chunk are 0. */
export class Bitfield {
  readonly length: number;
  readonly #bytes: Uint8Array;
  #size = 0;

  constructor(length: number) {
    this.length = length;
    this.#bytes = new Uint8Array(Math.ceil(length / 8));
  }

  /** A copy of `bytes`. @throws PROTOCOL_VIOLATION when they are not as many as `length` needs, or spare bits are set */
  static of(bytes: Uint8Array, length: number): Bitfield {
    const made = new Bitfield(length);
    if (bytes.length !== made.#bytes.length) {
      throw new WardcastError('PROTOCOL_VIOLATION', `A list of ${length} chunks has ${made.#bytes.length} bytes, not ${bytes.length}`);
    }
    const spare = made.#bytes.length * 8 - length;
    if (((bytes.at(-1) ?? 0) & ((1 << spare) - 1)) !== 0) {
      throw new WardcastError('PROTOCOL_VIOLATION', `A list of ${length} chunks names chunks beyond the last`);
    }
    made.#bytes.set(bytes);
    for (const byte of bytes) made.#size += ones(byte);
    return made;
  }

  static full(length: number): Bitfield {
    const made = new Bitfield(length);
    made.#bytes.fill(0xff);
    const spare = made.#bytes.length * 8 - length;
    if (spare > 0) made.#bytes[made.#bytes.length - 1] = (0xff << spare) & 0xff;
    made.#size = length;
    return made;
  }

  /** How many are there. */
  get size(): number {
    return this.#size;
  }

  get complete(): boolean {
    return this.#size === this.length;
  }

  /** @throws PROTOCOL_VIOLATION when there is no such chunk, as add() and delete() */
  has(index: number): boolean {
    return (this.#byte(index) & maskOf(index)) !== 0;
  }

  /** @returns false when it was there */
  add(index: number): boolean {
    const byte = this.#byte(index);
    if ((byte & maskOf(index)) !== 0) return false;
    this.#bytes[index >> 3] = byte | maskOf(index);
    this.#size += 1;
    return true;
  }

  /** @returns false when it was not there */
  delete(index: number): boolean {
    const byte = this.#byte(index);
    if ((byte & maskOf(index)) === 0) return false;
    this.#bytes[index >> 3] = byte & ~maskOf(index);
    this.#size -= 1;
    return true;
  }

  /** A copy. */
  bytes(): Uint8Array {
    return this.#bytes.slice();
  }

  /** The indexes that are there, in order. */
  *values(): Generator<number> {
    for (const [at, byte] of this.#bytes.entries()) {
      for (let bit = 0, rest = byte; rest !== 0; bit++, rest = (rest << 1) & 0xff) if ((rest & 0x80) !== 0) yield at * 8 + bit;
    }
  }

  /** The indexes that are not there, in order. */
  *missing(): Generator<number> {
    for (let index = 0; index < this.length; index++) if (!this.has(index)) yield index;
  }

  #byte(index: number): number {
    const byte = Number.isInteger(index) && index >= 0 && index < this.length ? this.#bytes[index >> 3] : undefined;
    if (byte === undefined) throw new WardcastError('PROTOCOL_VIOLATION', `There is no chunk ${index}; there are ${this.length}`);
    return byte;
  }
}

function maskOf(index: number): number {
  return 0x80 >> (index & 7);
}

function ones(byte: number): number {
  let count = 0;
  for (let rest = byte; rest !== 0; rest &= rest - 1) count += 1;
  return count;
}
