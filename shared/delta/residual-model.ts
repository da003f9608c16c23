import { codeBit } from './adaptive.ts';
import type { BitCoder } from './arithmetic.ts';
import { hash, Mixer, place } from './mixer.ts';

/**
 * Copied bytes, given what the old release says they are: where they differ, and by how much.
 *
 * Most copies differ nowhere, so that is said for 256 bytes at once, then for 16; only in a group of 16 that does differ is every byte asked for.
 * A difference is coded as the byte to add (mod 256, as bsdiff's: C. Percival, "Naive differences of executable code", 2003), since an address that moved
 * differs by the same amount wherever it stands. Its contexts are made of the old bytes and of differences nearby: an old word that was replaced
 * once will be replaced by the same again.
 */

const BLOCK = 256;
const GROUP = 8;
const BITS = 20;
/** Bytes before a piece that contexts look back on, and after it that they look ahead to. */
export const LOOK_BACK = 32;
export const LOOK_AHEAD = 8;

const KINDS = 16;

export class ResidualModel {
  readonly #blocks = new Int32Array(1 << 8);
  readonly #groups = new Int32Array(1 << 12);
  readonly #flags = new Mixer(BITS, KINDS * 8, 250);
  readonly #values = new Mixer(BITS, KINDS * 2, 250);
  #blockHistory = 0;
  #groupHistory = 0;
  #flagHistory = 0;
  /** The last difference by kind of byte. */
  readonly #lastByKind = new Uint8Array(KINDS);

  /**
   * Codes `actual[from … from + length)`, which `old` predicts at the same places; `from` ≥ LOOK_BACK and both have LOOK_AHEAD bytes to spare.
   * `kinds` says what each old byte is part of (0: nothing known), `position` is where the first lies in the old release.
   */
  code(coder: BitCoder, old: Uint8Array, actual: Uint8Array, kinds: Uint8Array, from: number, length: number, position: number): void {
    const end = from + length;
    const shift = position - from;
    for (let at = from; at < end; at += BLOCK) {
      const blockEnd = Math.min(at + BLOCK, end);
      const changed = codeBit(coder, this.#blocks, this.#blockHistory, differs(old, actual, at, blockEnd), 255);
      this.#blockHistory = ((this.#blockHistory << 1) | changed) & 255;
      if (changed === 0) {
        actual.set(old.subarray(at, blockEnd), at);
        this.#groupHistory = 0;
        this.#flagHistory = 0;
        continue;
      }
      for (let group = at; group < blockEnd; group += GROUP) {
        const groupEnd = Math.min(group + GROUP, blockEnd);
        const hot = codeBit(coder, this.#groups, this.#groupHistory, differs(old, actual, group, groupEnd), 255);
        this.#groupHistory = ((this.#groupHistory << 1) | hot) & 4095;
        if (hot === 1) for (let byte = group; byte < groupEnd; byte++) this.#codeByte(coder, old, actual, kinds, byte, (shift + byte) & 7);
        else {
          for (let byte = group; byte < groupEnd; byte++) actual[byte] = old[byte] ?? 0;
          this.#flagHistory = 0;
        }
      }
    }
  }

  #codeByte(coder: BitCoder, old: Uint8Array, actual: Uint8Array, kinds: Uint8Array, at: number, align: number): void {
    const kind = kinds[at] ?? 0;
    const o0 = old[at] ?? 0;
    const o1 = old[at - 1] ?? 0;
    const o2 = old[at - 2] ?? 0;
    const d1 = ((actual[at - 1] ?? 0) - o1) & 255;
    const d2 = ((actual[at - 2] ?? 0) - o2) & 255;
    const d4 = ((actual[at - 4] ?? 0) - (old[at - 4] ?? 0)) & 255;
    const d8 = ((actual[at - 8] ?? 0) - (old[at - 8] ?? 0)) & 255;
    const d24 = ((actual[at - 24] ?? 0) - (old[at - 24] ?? 0)) & 255;
    // Whether adding the difference to the byte before, a lower one of the same little-endian number perhaps, carried.
    const carry = (actual[at - 1] ?? 0) < o1 ? 1 : 0;
    const word = at - (align & 3);
    const w = (old[word] ?? 0) | ((old[word + 1] ?? 0) << 8) | ((old[word + 2] ?? 0) << 16) | ((old[word + 3] ?? 0) << 24);
    // What is known already of how this word differs.
    let known = 1;
    for (let i = word; i < at; i++) known = Math.imul(known, 0x2f35) + (((actual[i] ?? 0) - (old[i] ?? 0)) & 255);
    const history = this.#flagHistory;
    const recent = history & 255;

    const missed = this.#flags.code(
      coder,
      actual[at] === o0 ? 0 : 1,
      place(BITS, hash(1, recent, kind)) + align,
      place(BITS, hash(2, o0 | (o1 << 8) | ((old[at + 1] ?? 0) << 16), o2, history & 3)),
      place(BITS, hash(3, w, known, kind)) + (align & 3),
      place(BITS, hash(4, (d8 << 8) | d24, carry, d1)) + align,
      kind * 8 + (history & 7),
    );
    this.#flagHistory = ((history << 1) | missed) & 0xffff;
    if (missed === 0) {
      actual[at] = o0;
      return;
    }

    const wanted = ((actual[at] ?? 0) - o0) & 255;
    const c0 = hash(11, this.#lastByKind[kind] ?? 0, kind, history & 3);
    const c1 = hash(12, w, known, (align & 3) | (kind << 2));
    const c2 = hash(13, d1 | (d2 << 8), carry, d4);
    const c3 = hash(14, d8 | (d24 << 8), kind, align);
    let tree = 1;
    for (let part = 0; part < 2; part++) {
      const seen = part === 0 ? 0 : tree;
      const p0 = place(BITS, c0, seen);
      const p1 = place(BITS, c1, seen);
      const p2 = place(BITS, c2, seen);
      const p3 = place(BITS, c3, seen);
      let node = 1;
      for (let bit = 7 - 4 * part; bit >= 4 - 4 * part; bit--)
        node = (node << 1) | this.#values.code(coder, (wanted >> bit) & 1, p0 + node, p1 + node, p2 + node, p3 + node, kind * 2 + part);
      tree = (tree << 4) | (node & 15);
    }
    const difference = tree & 255;
    this.#lastByKind[kind] = difference;
    actual[at] = (o0 + difference) & 255;
  }
}

function differs(a: Uint8Array, b: Uint8Array, from: number, to: number): number {
  for (let at = from; at < to; at++) if (a[at] !== b[at]) return 1;
  return 0;
}
