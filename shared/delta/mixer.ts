import { HALF, learn } from './adaptive.ts';
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
const STRETCH = new Int16Array(4096);
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
const START = 22000;

/** Four contexts, written out: a loop over any number of them takes several times as long. */
export class Mixer {
  readonly #cells: Int32Array;
  readonly #weights: Int32Array;
  readonly #limit: number;

  /**
   * @param bits size of the memory that all contexts share by hashing: 2^bits cells of 4 bytes
   * @param sets how many sets of weights
   * @param limit how steady the probabilities become
   */
  constructor(bits: number, sets: number, limit: number) {
    this.#cells = new Int32Array(1 << bits);
    this.#weights = new Int32Array(4 * sets).fill(START);
    this.#limit = limit;
  }

  /** One bit in the contexts whose cells are `a` to `d`, by the weights of `set`. */
  code(coder: BitCoder, bit: number, a: number, b: number, c: number, d: number, set: number): number {
    const cells = this.#cells;
    const weights = this.#weights;
    const limit = this.#limit;
    const la = STRETCH[((cells[a] ?? 0) ^ HALF) >>> 20] ?? 0;
    const lb = STRETCH[((cells[b] ?? 0) ^ HALF) >>> 20] ?? 0;
    const lc = STRETCH[((cells[c] ?? 0) ^ HALF) >>> 20] ?? 0;
    const ld = STRETCH[((cells[d] ?? 0) ^ HALF) >>> 20] ?? 0;
    const w = set << 2;
    const wa = weights[w] ?? 0;
    const wb = weights[w + 1] ?? 0;
    const wc = weights[w + 2] ?? 0;
    const wd = weights[w + 3] ?? 0;
    const sum = ((Math.imul(la, wa) >> 2) + (Math.imul(lb, wb) >> 2) + (Math.imul(lc, wc) >> 2) + (Math.imul(ld, wd) >> 2)) >> 14;
    const p = SQUASH[(sum > 2047 ? 2047 : sum < -2047 ? -2047 : sum) + 2048] ?? 0;
    const seen = coder.code(bit, p * 16 + 8);
    const error = Math.imul((seen << 12) - p, RATE);
    weights[w] = bounded(wa + ((Math.imul(la, error) + 0x8000) >> 16));
    weights[w + 1] = bounded(wb + ((Math.imul(lb, error) + 0x8000) >> 16));
    weights[w + 2] = bounded(wc + ((Math.imul(lc, error) + 0x8000) >> 16));
    weights[w + 3] = bounded(wd + ((Math.imul(ld, error) + 0x8000) >> 16));
    learn(cells, a, seen, limit);
    learn(cells, b, seen, limit);
    learn(cells, c, seen, limit);
    learn(cells, d, seen, limit);
    return seen;
  }
}

function bounded(weight: number): number {
  return weight > MAX_WEIGHT ? MAX_WEIGHT : weight < -MAX_WEIGHT ? -MAX_WEIGHT : weight;
}

/** A context of up to three numbers as one. */
export function hash(kind: number, a: number, b = 0, c = 0): number {
  const h = Math.imul(a, 0x2c1b3c6d) ^ Math.imul(b + Math.imul(kind, 0x9e3779b1), 0x297a2d39) ^ Math.imul(c + 1, 0x5bd1e995);
  return Math.imul(h ^ (h >>> 15), 0x85ebca6b);
}

/** Where the cells of a context start in a memory of 2^bits; `part` tells apart the two halves of a byte. */
export function place(bits: number, context: number, part = 0): number {
  return (Math.imul(context + Math.imul(part, 0x9e3779b1), 0x2c1b3c6d) >>> (36 - bits)) << 4;
}
