import type { AddressMap, Place } from './address-map.ts';
import { toAddress } from './address-map.ts';
import type { Layout, Segment } from './elf.ts';

/** What an old byte is part of; added to it, 0 to 3 for the byte of the field. 0 is anything else. */
const CALL = 1;
const RELATIVE = 5;
const ABSOLUTE = 9;
const TABLE = 13;

/** Fields reach this far beyond the opcode that tells them. */
const REACH = 8;

/** One-byte opcodes whose operand is often relative to the instruction pointer. */
const RIP_OPCODES = new Uint8Array(256);
for (const opcode of [
  ...[0x01, 0x03, 0x09, 0x0b, 0x21, 0x23, 0x29, 0x2b, 0x31, 0x33, 0x38, 0x39, 0x3a, 0x3b, 0x63, 0x69, 0x6b, 0x80, 0x81, 0x83, 0x84, 0x85, 0x86, 0x87],
  ...[0x88, 0x89, 0x8a, 0x8b, 0x8d, 0xc6, 0xc7, 0xd1, 0xd3, 0xdb, 0xdd, 0xf6, 0xf7, 0xfe, 0xff, 0x10, 0x11, 0x28, 0x29, 0x2e, 0x2f, 0x6f, 0x7f],
]) {
  RIP_OPCODES[opcode] = 1;
}

/**
 * Old bytes as the new program will probably have them: every address in them moved as far as what it points at.
 * Addresses are told by the look of the bytes (calls, jumps, operands relative to the instruction pointer, words that are addresses), as BCJ filters do;
 * what is taken for one by mistake costs a difference, never correctness.
 */
export class Addresses {
  readonly #map: AddressMap;
  readonly #layout: Layout;
  readonly #places: readonly Place[];

  constructor(map: AddressMap, layout: Layout, places: readonly Place[]) {
    this.#map = map;
    this.#layout = layout;
    this.#places = places;
  }

  /**
   * Corrects `bytes[from … from + length)` in place and fills `kinds`. The bytes lie at `old` in the old file and will at `target` in the new one;
   * REACH bytes before and behind them are the old file's too.
   */
  predict(bytes: Uint8Array, kinds: Uint8Array, from: number, length: number, old: number, target: number): void {
    let done = 0;
    while (done < length) {
      const segment = this.#layout.segments.find(({ offset, size }) => old + done >= offset && old + done < offset + size);
      const upTo = segment === undefined ? this.#nextSegment(old + done) : segment.offset + segment.size;
      const part = Math.min(length - done, upTo - old - done);
      this.#predictPart(segment, bytes, kinds, from + done, part, old + done, target + done);
      done += part;
    }
  }

  #nextSegment(offset: number): number {
    return this.#layout.segments.reduce((least, segment) => (segment.offset > offset ? Math.min(least, segment.offset) : least), Number.POSITIVE_INFINITY);
  }

  #predictPart(segment: Segment | undefined, bytes: Uint8Array, kinds: Uint8Array, from: number, length: number, old: number, target: number): void {
    const address = segment === undefined ? undefined : old - segment.offset + segment.address;
    const newAddress = toAddress(target, this.#places);
    const code = segment?.executable === true && address !== undefined && newAddress !== undefined;
    if (code && this.#layout.machine === 'x86-64') this.#predictX86(bytes, kinds, from, length, address - from, newAddress - address);
    else if (code) this.#predictArm(bytes, from, length, address - from, newAddress - address);
    else
      this.#predictData(
        bytes,
        kinds,
        from,
        length,
        old - from,
        address === undefined || newAddress === undefined ? undefined : [address - from, newAddress - address],
      );
  }

  /** `bias` + an index into `bytes` is the old address; `moved` is how far this piece itself moved. */
  #predictX86(bytes: Uint8Array, kinds: Uint8Array, from: number, length: number, bias: number, moved: number): void {
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    const map = this.#map;
    const { low, high } = map;
    const end = from + length;
    for (let at = from - REACH + 2; at < end; at++) {
      const byte = bytes[at] ?? 0;
      let field = 0;
      let kind = CALL;
      if (byte === 0xe8 || byte === 0xe9) field = at + 1;
      else if (byte === 0x0f) {
        if (((bytes[at + 1] ?? 0) & 0xf0) === 0x80) field = at + 2;
      } else if ((byte & 0xc7) === 5) {
        if (RIP_OPCODES[bytes[at - 1] ?? 0] === 1 || bytes[at - 2] === 0x0f) {
          field = at + 1;
          kind = RELATIVE;
        }
      } else if ((byte & 0xf8) === 0xb8 || ((byte & 7) === 5 && ((bytes[at - 1] ?? 0) & 0xc7) === 4)) {
        // An address as an immediate or as the base of a table: programs that are not position-independent.
        const value = view.getUint32(at + 1, true);
        if (value < low || value >= high || value < 65536) continue;
        put(view, kinds, at + 1, value + map.move(value), from, end, ABSOLUTE);
        at += 4;
        continue;
      }
      if (field === 0) continue;
      const value = view.getInt32(field, true);
      const target = field + 4 + bias + value;
      if (target < low || target >= high) continue;
      put(view, kinds, field, value + map.move(target) - moved, from, end, kind);
      at = field + 3;
    }
  }

  #predictArm(bytes: Uint8Array, from: number, length: number, bias: number, moved: number): void {
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    const { low, high } = this.#map;
    // Instructions are aligned in memory; one that a piece cuts is left as it is.
    for (let at = from + ((4 - ((bias + from) % 4)) % 4); at + 4 <= from + length; at += 4) {
      const word = view.getUint32(at, true);
      if ((word & 0x7c000000) === 0x14000000) {
        const value = (word << 6) >> 4;
        const target = bias + at + value;
        if (target < low || target >= high) continue;
        const predicted = value + this.#map.move(target) - moved;
        view.setUint32(at, (word & 0xfc000000) | ((predicted >> 2) & 0x03ffffff), true);
      } else if ((word & 0x9f000000) === 0x90000000 >> 0) {
        const pages = (((word >> 5) & 0x7ffff) << 2) | ((word >> 29) & 3);
        const page = Math.floor((bias + at) / 4096) + ((pages << 11) >> 11);
        const target = page * 4096;
        if (target < low || target >= high) continue;
        const predicted = Math.floor((target + this.#map.move(target)) / 4096) - Math.floor((bias + at + moved) / 4096);
        view.setUint32(at, (word & 0x9f00001f) | ((predicted & 3) << 29) | (((predicted >> 2) & 0x7ffff) << 5), true);
      }
    }
  }

  /** `offset` + an index is the place in the old file; `memory` is bias and move, where these bytes have addresses at all. */
  #predictData(bytes: Uint8Array, kinds: Uint8Array, from: number, length: number, offset: number, memory: readonly [number, number] | undefined): void {
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    const map = this.#map;
    const { low, high } = map;
    const end = from + length;
    const { unwindTable } = this.#layout;
    const [bias, moved] = memory ?? [0, 0];
    for (let at = from - ((offset + from) % 8); at < end; at += 4) {
      const value = view.getInt32(at, true);
      if ((offset + at) % 8 === 0 && value >= low && value < high && value > 65536 && view.getInt32(at + 4, true) === 0) {
        put(view, kinds, at, value + map.move(value), from, end, ABSOLUTE);
        at += 4;
        continue;
      }
      if (memory === undefined) continue;
      const inTable = unwindTable !== undefined && offset + at >= unwindTable.offset && offset + at < unwindTable.offset + unwindTable.size;
      const base = inTable ? unwindTable.address : bias + at;
      const target = base + value;
      if (target < low || target >= high || (!inTable && !this.#executable(target))) continue;
      put(view, kinds, at, value + map.move(target) - (inTable ? map.move(base) : moved), from, end, TABLE);
    }
  }

  #executable(address: number): boolean {
    for (const segment of this.#layout.segments) if (address >= segment.address && address < segment.address + segment.size) return segment.executable;
    return false;
  }
}

/** Writes those of the field's four bytes that lie in [from, end): its neighbours are other pieces. */
function put(view: DataView, kinds: Uint8Array, field: number, value: number, from: number, end: number, kind: number): void {
  for (let byte = 0; byte < 4; byte++) {
    const at = field + byte;
    if (at < from || at >= end) continue;
    view.setUint8(at, (value >> (8 * byte)) & 255);
    kinds[at] = Math.min(15, kind + byte);
  }
}
