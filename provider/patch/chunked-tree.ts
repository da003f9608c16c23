import { WardcastError } from '../../shared/base/errors.ts';
import type { ChunkRef, Manifest } from '../../shared/bundle/manifest.ts';
import type { Reader, TreeFile } from '../../shared/delta/tree.ts';

/** Chunks that stay in memory: what is read next mostly lies in the same ones. */
const KEPT = 4;

/** The files of a release, read at any place out of its chunks; reading rejects as `content` does, which gives a chunk's content, proven. */
export function chunkedTree(manifest: Manifest, content: (chunk: ChunkRef) => Promise<Buffer>): TreeFile[] {
  const recent = new RecentChunks(content);
  return manifest.files.map(({ path, size, sha256, chunks }) => ({ path, size, sha256, reader: new ChunkedReader(size, chunks, recent) }));
}

class ChunkedReader implements Reader {
  readonly size: number;
  readonly #chunks: readonly ChunkRef[];
  readonly #recent: RecentChunks;
  #starts: readonly number[] | undefined;

  constructor(size: number, chunks: readonly ChunkRef[], recent: RecentChunks) {
    this.size = size;
    this.#chunks = chunks;
    this.#recent = recent;
  }

  async read(buffer: Uint8Array, position: number): Promise<void> {
    let at = 0;
    for (let index = this.#indexAt(position); at < buffer.length; index++) {
      const chunk = this.#chunks[index];
      if (chunk === undefined) throw new WardcastError('INTERNAL', `Read beyond the ${this.size} bytes of a file`);
      const offset = position + at - (this.#begins()[index] ?? 0);
      const step = Math.min(buffer.length - at, chunk.size - offset);
      buffer.set((await this.#recent.get(chunk)).subarray(offset, offset + step), at);
      at += step;
    }
  }

  #begins(): readonly number[] {
    if (this.#starts !== undefined) return this.#starts;
    let sum = 0;
    this.#starts = this.#chunks.map(({ size }) => {
      sum += size;
      return sum - size;
    });
    return this.#starts;
  }

  #indexAt(position: number): number {
    const starts = this.#begins();
    let low = 0;
    let high = starts.length - 1;
    while (low < high) {
      const middle = (low + high + 1) >> 1;
      if ((starts[middle] ?? 0) <= position) low = middle;
      else high = middle - 1;
    }
    return low;
  }
}

class RecentChunks {
  readonly #content: (chunk: ChunkRef) => Promise<Buffer>;
  readonly #kept = new Map<string, Buffer>();

  constructor(content: (chunk: ChunkRef) => Promise<Buffer>) {
    this.#content = content;
  }

  async get(chunk: ChunkRef): Promise<Buffer> {
    const bytes = this.#kept.get(chunk.hash) ?? (await this.#content(chunk));
    this.#kept.delete(chunk.hash);
    this.#kept.set(chunk.hash, bytes);
    const [oldest] = this.#kept.keys();
    if (this.#kept.size > KEPT && oldest !== undefined) this.#kept.delete(oldest);
    return bytes;
  }
}
