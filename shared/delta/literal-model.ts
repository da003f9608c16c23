import { codeBit } from './adaptive.ts';
import type { BitCoder } from './arithmetic.ts';
import { hash, Mixer } from './mixer.ts';

/**
 * Bytes that the old release has not got: mixed contexts of the last one to six bytes, and of what followed the last time the same six stood there.
 * A piece that is noise already (packed, encrypted, signatures) is written as it is, since modelling would cost time and gain nothing.
 */

const BITS = 22;
const INPUTS = 8;
/** Bytes of the past that repeats are looked for in. */
const HISTORY = 1 << 22;
const FINDER_BITS = 18;
const LONGEST = 32;

export class LiteralModel {
  readonly #mixer = new Mixer(BITS, INPUTS, 3 * 256, 250);
  readonly #noise = new Int32Array(4);
  #noiseBefore = 0;
  readonly #history = new Uint8Array(HISTORY);
  readonly #finder = new Int32Array(1 << FINDER_BITS);
  #at = 0;
  #match = 0;
  #matched = 0;
  #last4 = 0;
  #last8 = 0;

  /** Codes `bytes[from … to)`; `near` holds at the same places what the old release would have had there, were it the same. */
  code(coder: BitCoder, bytes: Uint8Array, near: Uint8Array, from: number, to: number, noise: boolean): void {
    const raw = codeBit(coder, this.#noise, this.#noiseBefore, noise ? 1 : 0, 30);
    this.#noiseBefore = raw;
    for (let at = from; at < to; at++) {
      if (raw === 0) bytes[at] = this.#codeByte(coder, bytes[at] ?? 0, near[at] ?? 0, near[at + 1] ?? 0);
      else {
        let byte = 0;
        for (let bit = 7; bit >= 0; bit--) byte = (byte << 1) | coder.code(((bytes[at] ?? 0) >> bit) & 1, 32768);
        bytes[at] = byte;
      }
      this.#remember(bytes[at] ?? 0);
    }
  }

  #codeByte(coder: BitCoder, byte: number, near: number, nearNext: number): number {
    const mixer = this.#mixer;
    const slots = mixer.at;
    const last4 = this.#last4;
    const expected = this.#matched > 0 ? (this.#history[this.#match & (HISTORY - 1)] ?? 0) : 0;
    const length = Math.min(this.#matched, 15);
    const c0 = hash(30, 1, last4 & 0xff);
    const c1 = hash(30, 2, last4 & 0xffff);
    const c2 = hash(30, 3, last4 & 0xffffff);
    const c3 = hash(30, 4, last4);
    const c4 = hash(30, 5, last4, this.#last8 & 0xffff);
    const c5 = hash(30, 6, near, nearNext, last4 & 0xff);
    const c6 = hash(30, 7, expected, length, length === 0 ? last4 & 0xffff00 : 0);
    const c7 = hash(30, 8, near, last4 & 0xff00);
    let tree = 1;
    for (let bit = 7; bit >= 0; bit--) {
      slots[0] = slot(c0, tree);
      slots[1] = slot(c1, tree);
      slots[2] = slot(c2, tree);
      slots[3] = slot(c3, tree);
      slots[4] = slot(c4, tree);
      slots[5] = slot(c5, tree);
      slots[6] = slot(c6, tree);
      slots[7] = slot(c7, tree);
      const agrees = this.#matched === 0 ? 0 : (expected | 256) >> (bit + 1) === tree ? (length > 7 ? 2 : 1) : 0;
      tree = (tree << 1) | mixer.code(coder, (byte >> bit) & 1, agrees * 256 + tree);
    }
    return tree & 255;
  }

  #remember(byte: number): void {
    const history = this.#history;
    if (this.#matched > 0 && history[this.#match & (HISTORY - 1)] === byte) {
      this.#match++;
      if (this.#matched < LONGEST) this.#matched++;
    } else this.#matched = 0;
    history[this.#at++ & (HISTORY - 1)] = byte;
    this.#last8 = (this.#last8 << 8) | (this.#last4 >>> 24);
    this.#last4 = (this.#last4 << 8) | byte;
    const place = hash(FINDER_BITS, 9, this.#last4, this.#last8 & 0xff);
    if (this.#matched === 0) {
      this.#match = this.#finder[place] ?? 0;
      if (this.#match > 0 && this.#at - this.#match < HISTORY) {
        let same = 0;
        while (same < LONGEST && same < this.#match && history[(this.#match - 1 - same) & (HISTORY - 1)] === history[(this.#at - 1 - same) & (HISTORY - 1)]) same++;
        this.#matched = same >= 4 ? same : 0;
      }
    }
    this.#finder[place] = this.#at;
  }
}

function slot(context: number, tree: number): number {
  return (Math.imul(context + Math.imul(tree, 0x9e3779b1), 0x85ebca6b) >>> 0) >>> (32 - BITS);
}
