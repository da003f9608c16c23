import { Operations } from './operations.ts';

/**
 * Where the parts of a new file were in an old one, allowing for differences (as bsdiff: copies go on while at least half of their bytes agree), but found
 * by a sampled hash table instead of a suffix array: 4 bytes for every `step` old ones, and a fraction of the time.
 */

/** Bytes that must agree for two places to be compared at all. */
const SEED = 12;
/** Bytes over which two alignments are compared, and by how many the better one must be better: what an operation costs. */
const COMPARED = 64;
const MARGIN = 9;
/** Entries of the table at most: 128 MiB. */
const MAX_TABLE_BITS = 25;
/** Copies of fewer bytes are not worth their numbers: from close to where the last one would have gone on, and from anywhere else. */
const WORTH_NEAR = 12;
const WORTH_FAR = 32;
const NEAR = 4096;

/** @param base is added to the old positions; `start` is where an alignment is expected to begin */
export function match(old: Uint8Array, bytes: Uint8Array, base: number): Operations {
  return toOperations(old, bytes, findSeeds(old, bytes), base);
}

interface Seeds {
  readonly at: readonly number[];
  /** Old position minus new position from there on. */
  readonly shift: readonly number[];
}

class Table {
  readonly #view: DataView;
  readonly #places: Int32Array;
  readonly #bits: number;
  readonly #step: number;

  constructor(old: Uint8Array) {
    const wanted = Math.max(10, Math.ceil(Math.log2(Math.max(1, old.length)))) + (old.length <= 1 << 22 ? 1 : 0);
    this.#bits = Math.min(MAX_TABLE_BITS, wanted);
    this.#step = old.length <= 1 << 24 ? 1 : old.length <= 1 << 26 ? 2 : Math.max(3, Math.ceil(old.length / 2 ** MAX_TABLE_BITS));
    this.#view = viewOf(old);
    this.#places = new Int32Array(1 << this.#bits);
    // The first of several alike: in a long run of one byte it is the one with the most behind it.
    for (let at = 0; at + SEED <= old.length; at += this.#step) {
      const cell = this.#hash(this.#view, at);
      if (this.#places[cell] === 0) this.#places[cell] = at + 1;
    }
  }

  /** An old place whose next SEED bytes may be those at `at` in `view`, or -1. */
  find(view: DataView, at: number): number {
    return (this.#places[this.#hash(view, at)] ?? 0) - 1;
  }

  #hash(view: DataView, at: number): number {
    const a = Math.imul(view.getInt32(at, true), 0x2c1b3c6d);
    const b = Math.imul(view.getInt32(at + 4, true), 0x297a2d39);
    const c = Math.imul(view.getInt32(at + 8, true), 0x5bd1e995);
    let h = a ^ (b >>> 3) ^ (b << 29) ^ (c >>> 7) ^ (c << 25);
    h = Math.imul(h ^ (h >>> 15), 0x85ebca6b);
    return (h ^ (h >>> 13)) >>> (32 - this.#bits);
  }
}

function viewOf(bytes: Uint8Array): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

function findSeeds(old: Uint8Array, bytes: Uint8Array): Seeds {
  const at = [0];
  const shift = [0];
  if (old.length < SEED || bytes.length < SEED) return { at, shift };
  const first = agreement(old, bytes, 0, 0, Math.min(old.length, bytes.length));
  if (first === bytes.length) return { at, shift };
  const table = new Table(old);
  const view = viewOf(bytes);
  const oldView = viewOf(old);
  const last = bytes.length - SEED;
  let current = 0;
  // Bytes in a row that agree on the current alignment: beyond SEED no other is looked for.
  let clean = first;
  let position = first;
  while (position <= last) {
    if (clean > SEED) {
      const run = agreement(old, bytes, position + current, position, Math.min(old.length - position - current, bytes.length - position));
      position += run;
      clean = 0;
      continue;
    }
    const place = table.find(view, position);
    const candidate = place - position;
    if (
      place >= 0 &&
      candidate !== current &&
      oldView.getInt32(place, true) === view.getInt32(position, true) &&
      oldView.getInt32(place + 4, true) === view.getInt32(position + 4, true) &&
      oldView.getInt32(place + 8, true) === view.getInt32(position + 8, true) &&
      equals(old, bytes, position, candidate) >= equals(old, bytes, position, current) + MARGIN
    ) {
      current = candidate;
      at.push(position);
      shift.push(candidate);
      clean = SEED + 1;
      continue;
    }
    clean = old[position + current] === bytes[position] ? clean + 1 : 0;
    position++;
  }
  return { at, shift };
}

/** How many bytes agree from two places on, at most `most`. */
function agreement(old: Uint8Array, bytes: Uint8Array, from: number, at: number, most: number): number {
  let run = 0;
  while (run < most && old[from + run] === bytes[at + run]) run++;
  return run;
}

/** How many of the next COMPARED bytes agree. */
function equals(old: Uint8Array, bytes: Uint8Array, at: number, shift: number): number {
  const to = Math.min(at + COMPARED, bytes.length, old.length - shift);
  let same = 0;
  for (let i = Math.max(at, -shift); i < to; i++) if (old[i + shift] === bytes[i]) same++;
  return same;
}

/** Each alignment forward and the next one backward as far as it pays; where they meet, the best border between them. */
function toOperations(old: Uint8Array, bytes: Uint8Array, seeds: Seeds, base: number): Operations {
  const operations = new Operations();
  const count = seeds.at.length;
  let copyOld = 0;
  let copy = 0;
  let literal = 0;
  let start = 0;
  let lastShift = 0;
  for (let i = 0; i < count; i++) {
    const at = seeds.at[i] ?? 0;
    const shift = seeds.shift[i] ?? 0;
    const next = seeds.at[i + 1] ?? bytes.length;
    const nextShift = seeds.shift[i + 1];
    let end = forward(old, bytes, at, next, shift);
    let begin = nextShift === undefined ? next : backward(old, bytes, next, at, nextShift);
    if (begin < end && nextShift !== undefined) {
      begin = border(old, bytes, begin, end, shift, nextShift);
      end = begin;
    }
    // `start` ≤ `at`: this alignment's own backward part.
    const worth = Math.abs(shift - lastShift) < NEAR ? WORTH_NEAR : WORTH_FAR;
    if (end - start >= worth || (i === 0 && end > start)) {
      lastShift = shift;
      if (copy > 0 || literal > 0) operations.add(copyOld + base, copy, literal);
      copyOld = start + shift;
      copy = end - start;
      literal = begin - end;
    } else literal += begin - start;
    start = begin;
  }
  if (copy > 0 || literal > 0) operations.add(copyOld + base, copy, literal);
  return operations;
}

function forward(old: Uint8Array, bytes: Uint8Array, from: number, to: number, shift: number): number {
  const limit = Math.min(to, old.length - shift);
  let score = 0;
  let best = 0;
  let end = from;
  for (let at = from; at < limit; at++) {
    score += old[at + shift] === bytes[at] ? 1 : -1;
    if (score > best) {
      best = score;
      end = at + 1;
    }
  }
  return end;
}

function backward(old: Uint8Array, bytes: Uint8Array, from: number, to: number, shift: number): number {
  const limit = Math.max(to, -shift);
  let score = 0;
  let best = 0;
  let begin = from;
  for (let at = from - 1; at >= limit; at--) {
    score += old[at + shift] === bytes[at] ? 1 : -1;
    if (score > best) {
      best = score;
      begin = at;
    }
  }
  return begin;
}

/** The place in [begin, end] up to which the first alignment and from which the second agrees most. */
function border(old: Uint8Array, bytes: Uint8Array, begin: number, end: number, first: number, second: number): number {
  let score = 0;
  let best = 0;
  let place = begin;
  for (let at = begin; at < end; at++) {
    score += (old[at + first] === bytes[at] ? 1 : 0) - (old[at + second] === bytes[at] ? 1 : 0);
    if (score > best) {
      best = score;
      place = at + 1;
    }
  }
  return place;
}
