import type { BitCoder } from './arithmetic.ts';

/**
 * Probabilities that learn, each from the bits seen in its own context. 22 bits of probability and 10 of a count: the first bits move it
 * far, later ones less and less, down to one part in `limit` (the state map of M. Mahoney's lpaq).
 */

/** Parts of the distance to what was seen, in 4096ths, that the n-th bit of a context moves its probability. */
const STEPS = Int32Array.from({ length: 1024 }, (_, count) => Math.trunc(4096 / (count + 1.6)));

/** Cells keep their contents xor this, so that fresh memory, which is zero and costs nothing until touched, means "one half, nothing seen". */
export const HALF = 0x80000000 | 0;

/** The probability of a 1 in 65536ths, never 0 or 65536. */
export function probability(cells: Int32Array, at: number): number {
  const p = ((cells[at] ?? 0) ^ HALF) >>> 16;
  return p < 16 ? 16 : p > 65520 ? 65520 : p;
}

export function learn(cells: Int32Array, at: number, bit: number, limit: number): void {
  const cell = (cells[at] ?? 0) ^ HALF;
  const count = cell & 1023;
  const p = cell >>> 10;
  const distance = (bit === 1 ? 4194303 : 0) - p;
  const moved = p + (Math.imul(distance >> 3, STEPS[count] ?? 0) >> 9);
  cells[at] = ((moved << 10) | (count < limit ? count + 1 : count)) ^ HALF;
}

/** One bit by one context alone: for flags that come often and cheaply. */
export function codeBit(coder: BitCoder, cells: Int32Array, at: number, bit: number, limit: number): number {
  const seen = coder.code(bit, probability(cells, at));
  learn(cells, at, seen, limit);
  return seen;
}
