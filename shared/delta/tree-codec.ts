import { codeBit } from './adaptive.ts';
import type { Place } from './address-map.ts';
import type { Addresses } from './addresses.ts';
import type { BitCoder } from './arithmetic.ts';
import type { Layout } from './elf.ts';
import { LiteralModel } from './literal-model.ts';
import { NumberModel } from './number-model.ts';
import { OperationsModel } from './operations.ts';
import { LOOK_AHEAD, LOOK_BACK, ResidualModel } from './residual-model.ts';

/** First bytes of every patch. The last is the format's number; docs/patch-format.md. */
export const MAGIC = Buffer.from([0x57, 0x43, 0x50, 0x01]);
/** Bytes of new content that are coded at once: the unit of memory on both ends. */
export const PIECE = 32 * 1024;
/** Operations between two places where a frame may end. */
export const OPERATIONS_AT_ONCE = 4096;
/** Bytes before and behind the place of new bytes in the old file that may teach how they look. */
export const NEIGHBOURS = 2048;

/** The buffers of one piece: what the old release has there, what the new one has, and what each old byte is part of. */
export class Window {
  readonly old = new Uint8Array(LOOK_BACK + PIECE + LOOK_AHEAD);
  readonly actual = new Uint8Array(LOOK_BACK + PIECE + LOOK_AHEAD);
  readonly kinds = new Uint8Array(LOOK_BACK + PIECE + LOOK_AHEAD);

  /** The part of `old` that a piece of this length needs: LOOK_BACK bytes before it, the piece, and LOOK_AHEAD bytes. */
  needed(length: number): Uint8Array {
    return this.old.subarray(0, LOOK_BACK + length + LOOK_AHEAD);
  }

  /** The piece itself, after it was coded. */
  piece(length: number): Uint8Array {
    return this.actual.subarray(LOOK_BACK, LOOK_BACK + length);
  }
}

/** Everything that is said in a patch, in the order of docs/patch-format.md, for both directions: what is given when encoding comes back when decoding. */
export class TreeCodec {
  readonly coder: BitCoder;
  readonly operations = new OperationsModel();
  readonly #residual = new ResidualModel();
  readonly #literals = new LiteralModel();
  readonly #flags = new Int32Array(8);
  readonly #bases = new NumberModel(1);
  readonly #places = new NumberModel(3);

  constructor(coder: BitCoder) {
    this.coder = coder;
  }

  /** The old file that a new one is made from, or -1; `expected` is the one after the last. */
  codeBase(base: number, expected: number): number {
    if (this.#flag(0, base !== -1) === 0) return -1;
    return expected + this.#bases.codeSigned(this.coder, base - expected);
  }

  codeIdentical(identical: boolean): boolean {
    return this.#flag(1, identical) === 1;
  }

  codeFrameEnd(end: boolean): boolean {
    return this.#flag(2, end) === 1;
  }

  /** Where the segments of the new program lie, or undefined when addresses are left alone. */
  codePlaces(layout: Layout, places: readonly Place[] | undefined): Place[] | undefined {
    if (this.#flag(3, places !== undefined) === 0) return undefined;
    return layout.segments.map(({ offset, size, address }, index) => {
      const place = places?.[index] ?? { offset, size, address };
      return {
        offset: offset + this.#places.codeSigned(this.coder, place.offset - offset, 0),
        size: size + this.#places.codeSigned(this.coder, place.size - size, 1),
        address: address + this.#places.codeSigned(this.coder, place.address - address, 2),
      };
    });
  }

  /** A copied piece: `window.old` holds it as it is in the old file, at `old`; it will be at `target` in the new one. */
  codeCopy(window: Window, length: number, old: number, target: number, addresses: Addresses | undefined): void {
    if (addresses !== undefined) {
      addresses.predict(window.old, window.kinds, LOOK_BACK, length, old, target);
    }
    this.#residual.code(this.coder, window.old, window.actual, window.kinds, LOOK_BACK, length, old);
    if (addresses !== undefined) window.kinds.fill(0, LOOK_BACK, LOOK_BACK + length);
  }

  /** New bytes: `window.old` holds what follows the last copy in the old file. */
  codeLiteral(window: Window, length: number): void {
    this.#literals.code(this.coder, window.actual, window.old, LOOK_BACK, LOOK_BACK + length, length >= 4096 && isNoise(window.piece(length)));
  }

  /** Before the first piece of a literal: `neighbours` is what stands around its place in the old file. */
  learn(neighbours: Uint8Array): void {
    this.#literals.learn(neighbours);
  }

  /** After a piece: what contexts of the next one look back on. */
  keep(window: Window, length: number): void {
    window.actual.copyWithin(0, length, length + LOOK_BACK);
  }

  #flag(context: number, value: boolean): number {
    return codeBit(this.coder, this.#flags, context, value ? 1 : 0, 255);
  }
}

/** Whether all byte values are about as frequent as in random bytes (the sum of squares of their counts says so without logarithms). */
function isNoise(bytes: Uint8Array): boolean {
  const counts = new Int32Array(256);
  for (const byte of bytes) counts[byte] = (counts[byte] ?? 0) + 1;
  const squares = counts.reduce((sum, count) => sum + count * count, 0);
  return squares * 256 < bytes.length * (bytes.length * 1.05 + 256);
}
