import type { Layout, Segment } from './elf.ts';
import type { Operations } from './operations.ts';

/** Where a segment of the new program lies. */
export interface Place {
  readonly offset: number;
  readonly size: number;
  readonly address: number;
}

/** Copies shorter than this are too often chance to tell where code went. */
const TRUSTED = 32;
const PAGE = 12;
/** Bytes of address space that a table of pages may span: 1 Mi entries. */
const MAX_SPAN = 2 ** 32;

/**
 * Where every address of the old program is in the new one, as the copies tell: what Courgette and zucchini learn by disassembling and matching
 * labels follows here from the operations alone, which both ends know before the first byte.
 */
export class AddressMap {
  readonly low: number;
  readonly high: number;
  readonly #starts: Float64Array;
  readonly #moves: Float64Array;
  /** For each page of addresses the last start at or below its first byte. */
  readonly #pages: Int32Array;

  private constructor(low: number, high: number, starts: Float64Array, moves: Float64Array, pages: Int32Array) {
    this.low = low;
    this.high = high;
    this.#starts = starts;
    this.#moves = moves;
    this.#pages = pages;
  }

  /**
   * @param base where the old program starts in the old release
   * @param size its bytes
   * @returns undefined for layouts too wide to tabulate
   */
  static from(operations: Operations, base: number, size: number, layout: Layout, places: readonly Place[]): AddressMap | undefined {
    const low = layout.segments.reduce((least, { address }) => Math.min(least, address), Number.POSITIVE_INFINITY);
    const high = layout.segments.reduce((most, { address, memory }) => Math.max(most, address + memory), 0);
    if (high - low > MAX_SPAN || high <= low) return undefined;
    const { starts, moves } = toAddresses(runs(operations, base, size), layout.segments, places);
    if (starts.length === 0) return undefined;
    const pages = new Int32Array(Math.ceil((high - low) / 2 ** PAGE) + 1);
    let run = 0;
    for (let page = 0; page < pages.length; page++) {
      while (run + 1 < starts.length && (starts[run + 1] ?? 0) <= low + page * 2 ** PAGE) run++;
      pages[page] = run;
    }
    return new AddressMap(low, high, starts, moves, pages);
  }

  /** How far what stood at this old address moved. The address must lie in [low, high). */
  move(address: number): number {
    let run = this.#pages[(address - this.low) >>> PAGE] ?? 0;
    while (run + 1 < this.#starts.length && (this.#starts[run + 1] ?? 0) <= address) run++;
    return this.#moves[run] ?? 0;
  }
}

interface Run {
  readonly old: number;
  readonly end: number;
  readonly move: number;
}

/** Copies within the old program by ascending start, those inside a longer one left out; offsets are within the program's file. */
function runs(operations: Operations, base: number, size: number): Run[] {
  const all: Run[] = [];
  let at = 0;
  for (let i = 0; i < operations.count; i++) {
    const old = operations.old(i) - base;
    const copy = operations.copy(i);
    if (copy >= TRUSTED && old >= 0 && old + copy <= size) all.push({ old, end: old + copy, move: at - old });
    at += copy + operations.literal(i);
  }
  all.sort((a, b) => a.old - b.old || b.end - a.end);
  const kept: Run[] = [];
  for (const run of all) if (run.end > (kept.at(-1)?.end ?? -1)) kept.push(run);
  return kept;
}

function toAddresses(all: readonly Run[], segments: readonly Segment[], places: readonly Place[]): { starts: Float64Array; moves: Float64Array } {
  const pairs: { start: number; move: number }[] = [];
  const ordered = segments.map((segment, index) => ({ segment, place: places[index] })).sort((a, b) => a.segment.address - b.segment.address);
  for (const { segment, place } of ordered) {
    if (place === undefined) continue;
    const { offset, size, address, memory } = segment;
    pairs.push({ start: address, move: place.address - address });
    for (let i = firstEndingAfter(all, offset); i < all.length; i++) {
      const run = all[i];
      if (run === undefined || run.old >= offset + size) break;
      const from = Math.max(run.old, offset);
      const target = toAddress(from + run.move, places);
      if (target !== undefined) pairs.push({ start: from - offset + address, move: target - (from - offset + address) });
    }
    // What has memory but no bytes (.bss) moves with the end of what has.
    if (memory > size) pairs.push({ start: address + size, move: place.address + place.size - (address + size) });
  }
  pairs.sort((a, b) => a.start - b.start);
  return { starts: Float64Array.from(pairs, ({ start }) => start), moves: Float64Array.from(pairs, ({ move }) => move) };
}

/** Ends ascend as starts do. */
function firstEndingAfter(all: readonly Run[], offset: number): number {
  let low = 0;
  let high = all.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if ((all[middle]?.end ?? 0) > offset) high = middle;
    else low = middle + 1;
  }
  return low;
}

export function toAddress(offset: number, places: readonly Place[]): number | undefined {
  for (const place of places) if (offset >= place.offset && offset < place.offset + place.size) return offset - place.offset + place.address;
  return undefined;
}
