import { codeBit } from './adaptive.ts';
import type { BitCoder } from './arithmetic.ts';
import { hash, Mixer, place } from './mixer.ts';

/**
 * Bytes that the old release has not got: mixed contexts of the last one to six bytes, and of what followed the last time the same six stood there.
 * A piece that is noise already (packed, encrypted, signatures) is written as it is, since modelling would cost time and gain nothing.
 */

const BITS = 20;
/** Bytes of the past that repeats are looked for in. */
const HISTORY = 1 << 22;
const FINDER_BITS = 18;
const LONGEST = 32;
/** Bytes of old text that the model may learn from in one patch: what it costs in time, on both ends. */
const LESSONS = 512 * 1024;

/** Hears what is coded and writes nothing: for learning from what both ends have. */
const LISTENER: BitCoder = { code: (bit) => bit };

export class LiteralModel {
  readonly #mixer = new Mixer(BITS, 3 * 256, 250);
  readonly #noise = new Int32Array(4);
  #noiseBefore = 0;
  readonly #history = new Uint8Array(HISTORY);
  readonly #finder = new Int32Array(1 << FINDER_BITS);
  #at = 0;
  #match = 0;
  #matched = 0;
  #last4 = 0;
  #last8 = 0;
  #lessons = LESSONS;

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

  /** Learns from text of the old release around the place where new text comes: its words are likely to come again. Programs teach nothing that way. */
  learn(text: Uint8Array): void {
    if (this.#lessons < text.length || text.includes(0)) return;
    this.#lessons -= text.length;
    for (const byte of text) {
      this.#codeByte(LISTENER, byte, 0, 0);
      this.#remember(byte);
    }
  }

  #codeByte(coder: BitCoder, byte: number, near: number, nearNext: number): number {
    const mixer = this.#mixer;
    const last4 = this.#last4;
    const expected = this.#matched > 0 ? (this.#history[this.#match & (HISTORY - 1)] ?? 0) : 0;
    const length = Math.min(this.#matched, 15);
    const c0 = hash(1, last4 & 0xff, near);
    const c1 = hash(2, last4 & 0xffff);
    const c2 = hash(3, last4 & 0xffffff, nearNext);
    const c3 = length > 0 ? hash(4, expected, length) : hash(5, last4);
    let tree = 1;
    for (let part = 0; part < 2; part++) {
      const seen = part === 0 ? 0 : tree;
      const p0 = place(BITS, c0, seen);
      const p1 = place(BITS, c1, seen);
      const p2 = place(BITS, c2, seen);
      const p3 = place(BITS, c3, seen);
      let node = 1;
      for (let bit = 7 - 4 * part; bit >= 4 - 4 * part; bit--) {
        const agrees = length === 0 ? 0 : (expected | 256) >> (bit + 1) === tree ? (length > 7 ? 2 : 1) : 0;
        const got = mixer.code(coder, (byte >> bit) & 1, p0 + node, p1 + node, p2 + node, p3 + node, agrees * 256 + tree);
        node = (node << 1) | got;
        tree = (tree << 1) | got;
      }
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
    const found = hash(9, this.#last4, this.#last8 & 0xff) >>> (32 - FINDER_BITS);
    if (this.#matched === 0) {
      this.#match = this.#finder[found] ?? 0;
      if (this.#match > 0 && this.#at - this.#match < HISTORY) {
        let same = 0;
        while (same < LONGEST && same < this.#match && history[(this.#match - 1 - same) & (HISTORY - 1)] === history[(this.#at - 1 - same) & (HISTORY - 1)])
          same++;
        this.#matched = same >= 4 ? same : 0;
      }
    }
    this.#finder[found] = this.#at;
  }
}
