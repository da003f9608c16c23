import { learn } from './adaptive.ts';
import type { BitCoder } from './arithmetic.ts';

/**
 * Logistic mixing (M. Mahoney, "Adaptive Weighing of Context Models for Lossless Data Compression", 2005): each context says how likely a 1 is;
 * their logits, weighted by how right each has been, give one probability. Integers only: both ends must compute the same bits on every machine.
 */

/** logit⁻¹ in 4096ths for logits from -2047 to 2047 in 256ths, interpolated between 33 points of 4096 / (1 + e^-x). */
const POINTS = [
  1, 2, 3, 6, 10, 16, 27, 45, 73, 120, 194, 310, 488, 747, 1101, 1546, 2047, 2549, 2994, 3348, 3607, 3785, 3901, 3975, 4022, 4050, 4068, 4079, 4085, 4089, 4092,
  4093, 4094,
];
const SQUASH = Int32Array.from({ length: 4096 }, (_, at) => {
  const part = at & 127;
  return ((POINTS[at >> 7] ?? 0) * (128 - part) + (POINTS[(at >> 7) + 1] ?? 4095) * part + 64) >> 7;
});
const STRETCH = new Int32Array(4096);
{
  let from = 0;
  for (let logit = -2047; logit <= 2047; logit++) {
    const upTo = SQUASH[logit + 2048] ?? 0;
    for (let p = from; p <= upTo; p++) STRETCH[p] = logit;
    from = Math.max(from, upTo + 1);
  }
  STRETCH.fill(2047, from);
}

/** Weights are in 65536ths. How fast they follow is a compromise between small patches and large ones. */
const RATE = 10;
/** Keeps a weight times a logit within 32 bits. */
const MAX_WEIGHT = (1 << 20) - 1;

export class Mixer {
  /** Where each context's cell is; the caller sets it before each bit. */
  readonly cells: Int32Array;
  readonly at: Int32Array;
  readonly #inputs: number;
  readonly #limit: number;
  readonly #logits: Int32Array;
  readonly #weights: Int32Array;

  /**
   * @param bits size of the memory that all contexts share by hashing: 2^bits cells of 4 bytes
   * @param inputs how many contexts
   * @param sets how many sets of weights
   */
  constructor(bits: number, inputs: number, sets: number, limit: number) {
    this.cells = new Int32Array(1 << bits);
    this.at = new Int32Array(inputs);
    this.#inputs = inputs;
    this.#limit = limit;
    this.#logits = new Int32Array(inputs);
    this.#weights = new Int32Array(inputs * sets).fill(Math.trunc((65536 * 1.3) / inputs));
  }

  code(coder: BitCoder, bit: number, set: number): number {
    const { cells, at } = this;
    const inputs = this.#inputs;
    const logits = this.#logits;
    const weights = this.#weights;
    const base = set * inputs;
    let sum = 0;
    for (let i = 0; i < inputs; i++) {
      const p = ((cells[at[i] ?? 0] ?? 0) ^ 0x80000000) >>> 20;
      const logit = STRETCH[p] ?? 0;
      logits[i] = logit;
      sum += Math.imul(logit, weights[base + i] ?? 0) >> 8;
    }
    const logit = sum >> 8;
    const p = SQUASH[(logit > 2047 ? 2047 : logit < -2047 ? -2047 : logit) + 2048] ?? 0;
    const seen = coder.code(bit, p < 1 ? 8 : p > 4094 ? 65528 : p * 16 + 8);
    const error = ((seen << 12) - p) * RATE;
    for (let i = 0; i < inputs; i++) {
      const weight = (weights[base + i] ?? 0) + ((Math.imul(logits[i] ?? 0, error) + 0x8000) >> 16);
      weights[base + i] = weight > MAX_WEIGHT ? MAX_WEIGHT : weight < -MAX_WEIGHT ? -MAX_WEIGHT : weight;
      learn(cells, at[i] ?? 0, seen, this.#limit);
    }
    return seen;
  }
}

/** A slot below 2^bits for a context of up to four numbers. */
export function hash(bits: number, kind: number, a: number, b = 0, c = 0): number {
  let h = Math.imul(a, 0x2c1b3c6d) ^ Math.imul(b + kind * 0x9e37, 0x297a2d39) ^ Math.imul(c + 1, 0x5bd1e995);
  h = Math.imul(h ^ (h >>> 15), 0x85ebca6b);
  return ((h ^ (h >>> 13)) >>> 0) >>> (32 - bits);
}
