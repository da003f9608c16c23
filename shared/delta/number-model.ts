import { codeBit } from './adaptive.ts';
import type { BitCoder } from './arithmetic.ts';

/** Bits of a magnitude: numbers stay exact in a double. */
const MAX_BITS = 53;
/** Leading bits of a mantissa with a context of their own; the rest is near enough to noise. */
const MODELLED = 3;
const CONTEXTS = 1 << MODELLED;
const LIMIT = 60;

/**
 * Whole numbers from 0 to 2^53 - 1, small ones cheapest (Elias' gamma code with learnt probabilities): how many bits, then the bits from the top.
 * `context` tells apart distributions, from 0 below `contexts`.
 */
export class NumberModel {
  readonly #lengths: Int32Array;
  readonly #mantissas: Int32Array;

  constructor(contexts: number) {
    this.#lengths = new Int32Array(contexts * (MAX_BITS + 1));
    this.#mantissas = new Int32Array(contexts * (MAX_BITS + 1) * CONTEXTS);
  }

  code(coder: BitCoder, value: number, context = 0): number {
    const length = this.#codeLength(coder, bitLength(value), context * (MAX_BITS + 1));
    if (length < 2) return length;
    let read = 1;
    const base = (context * (MAX_BITS + 1) + length) * CONTEXTS;
    for (let bit = length - 2; bit >= 0; bit--) {
      const wanted = Math.floor(value / 2 ** bit) % 2;
      const got = read < CONTEXTS ? codeBit(coder, this.#mantissas, base + read, wanted, LIMIT) : coder.code(wanted, 32768);
      read = read * 2 + got;
    }
    return read;
  }

  /** The sign goes into the lowest bit. */
  codeSigned(coder: BitCoder, value: number, context = 0): number {
    const got = this.code(coder, value < 0 ? -2 * value - 1 : 2 * value, context);
    return got % 2 === 1 ? -(got + 1) / 2 : got / 2;
  }

  #codeLength(coder: BitCoder, length: number, base: number): number {
    for (let at = 0; at < MAX_BITS; at++) if (codeBit(coder, this.#lengths, base + at, at < length ? 1 : 0, LIMIT) === 0) return at;
    return MAX_BITS;
  }
}

function bitLength(value: number): number {
  return value < 2 ** 31 ? 32 - Math.clz32(value) : 64 - Math.clz32(Math.floor(value / 2 ** 32)) - (value < 2 ** 32 ? 32 : 0);
}
