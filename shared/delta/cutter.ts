import type { ChunkRef } from '../bundle/manifest.ts';

/** Cuts the bytes of one file where the manifest says that its chunks end. Holds less than one chunk. */
export class Cutter {
  readonly #chunks: readonly ChunkRef[];
  #at = 0;
  #content: Buffer | undefined;
  #filled = 0;

  constructor(chunks: readonly ChunkRef[]) {
    this.#chunks = chunks;
  }

  /** The chunks that are complete now, in buffers of their own; what comes behind the last one is ignored. */
  *push(bytes: Uint8Array): Generator<{ readonly chunk: ChunkRef; readonly content: Buffer }> {
    for (let from = 0; from < bytes.length; ) {
      const chunk = this.#chunks[this.#at];
      if (chunk === undefined) return;
      this.#content ??= Buffer.allocUnsafeSlow(chunk.size);
      const step = Math.min(chunk.size - this.#filled, bytes.length - from);
      this.#content.set(bytes.subarray(from, from + step), this.#filled);
      this.#filled += step;
      from += step;
      if (this.#filled < chunk.size) return;
      const content = this.#content;
      this.#content = undefined;
      this.#filled = 0;
      this.#at += 1;
      yield { chunk, content };
    }
  }
}
