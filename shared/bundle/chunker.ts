import { createHash } from 'node:crypto';
import { CHUNK_AVG, CHUNK_MAX, CHUNK_MIN } from '../base/limits.ts';

/**
 * Content-defined chunking: FastCDC (Xia et al., USENIX ATC 2016) with gear hash, cut-point skipping and normalised chunking
 * (a stricter mask before the average size, a laxer one after it). The same content gives the same chunks wherever it stands in a file,
 * so that an update moves only what changed. Boundaries are part of the format: changing anything here changes every chunk's name.
 */
export interface ChunkSizes {
  readonly min: number;
  /** A power of two. */
  readonly avg: number;
  readonly max: number;
}

export const CHUNK_SIZES: ChunkSizes = { min: CHUNK_MIN, avg: CHUNK_AVG, max: CHUNK_MAX };

/** One 32-bit word per byte value: the first four bytes of SHA-256 of that byte, little-endian. */
const GEAR = Int32Array.from({ length: 256 }, (_, byte) => createHash('sha256').update(Uint8Array.of(byte)).digest().readInt32LE(0));
/** Bytes that a 32-bit gear hash remembers: each step shifts by one bit. */
const WINDOW = 32;
/** Bits by which the masks differ from the average's: "normalisation level 2" of the paper. */
const NORMALISATION = 2;

/** The chunks of a whole buffer, as views of it. An empty buffer has none. */
export function* split(bytes: Buffer, sizes: ChunkSizes = CHUNK_SIZES): Generator<Buffer> {
  let from = 0;
  while (from < bytes.length) {
    const to = cut(bytes, from, sizes);
    yield bytes.subarray(from, to);
    from = to;
  }
}

/**
 * The same chunks from a stream of buffers of any sizes. Pushed buffers must not be written to afterwards: chunks may be views of them.
 * Holds at most one chunk's maximum beyond what was pushed last.
 */
export class Chunker {
  readonly #sizes: ChunkSizes;
  #parts: Buffer[] = [];
  #length = 0;

  constructor(sizes: ChunkSizes = CHUNK_SIZES) {
    this.#sizes = sizes;
  }

  /** The chunks that are certain now. */
  push(bytes: Buffer): Buffer[] {
    if (bytes.length > 0) this.#parts.push(bytes);
    this.#length += bytes.length;
    // A cut looks at most `max` bytes ahead; with fewer at hand the end of the stream might come first.
    return this.#length < this.#sizes.max ? [] : this.#cut(this.#sizes.max);
  }

  /** The remaining chunks. The chunker is then empty and may be used again. */
  end(): Buffer[] {
    return this.#cut(1);
  }

  #cut(atLeast: number): Buffer[] {
    const [first] = this.#parts;
    const all = this.#parts.length === 1 && first !== undefined ? first : Buffer.concat(this.#parts, this.#length);
    const chunks: Buffer[] = [];
    let from = 0;
    while (all.length - from >= atLeast) {
      const to = cut(all, from, this.#sizes);
      chunks.push(all.subarray(from, to));
      from = to;
    }
    this.#length = all.length - from;
    this.#parts = this.#length === 0 ? [] : [all.subarray(from)];
    return chunks;
  }
}

/** Where the chunk that starts at `from` ends. */
function cut(bytes: Buffer, from: number, sizes: ChunkSizes): number {
  const earliest = from + sizes.min;
  if (bytes.length <= earliest) return bytes.length;
  const end = Math.min(from + sizes.max, bytes.length);
  const middle = Math.min(from + sizes.avg, end);
  const bits = 31 - Math.clz32(sizes.avg);
  // The highest bits depend on the most bytes, hence masks of leading ones.
  const strict = -1 << (32 - bits - NORMALISATION);
  const lax = -1 << (32 - bits + NORMALISATION);
  let hash = 0;
  let at = earliest - Math.min(WINDOW, sizes.min);
  // Warmed up before the earliest cut, so that every decision rests on content alone and not on where the chunk began.
  for (; at < earliest; at++) hash = ((hash << 1) + (GEAR[bytes[at] ?? 0] ?? 0)) | 0;
  for (; at < middle; at++) {
    hash = ((hash << 1) + (GEAR[bytes[at] ?? 0] ?? 0)) | 0;
    if ((hash & strict) === 0) return at + 1;
  }
  for (; at < end; at++) {
    hash = ((hash << 1) + (GEAR[bytes[at] ?? 0] ?? 0)) | 0;
    if ((hash & lax) === 0) return at + 1;
  }
  return end;
}
