import { absent, checkChunkName, checkContent } from './chunk-name.ts';
import type { CallOptions, ChunkStore } from './chunk-source.ts';

/** Chunks in memory: for tests, and for content that lives as long as the process. */
export class MemoryChunkStore implements ChunkStore {
  readonly #chunks = new Map<string, Buffer>();
  #bytes = 0;

  /** Total bytes held. */
  get bytes(): number {
    return this.#bytes;
  }

  async has(hash: string, { signal }: CallOptions = {}): Promise<boolean> {
    signal?.throwIfAborted();
    return this.#chunks.has(hash);
  }

  async get(hash: string, { signal }: CallOptions = {}): Promise<Buffer> {
    signal?.throwIfAborted();
    const bytes = this.#chunks.get(hash);
    if (bytes === undefined) throw absent(hash, 'The memory');
    return bytes;
  }

  async put(hash: string, bytes: Buffer, { signal }: CallOptions = {}): Promise<void> {
    signal?.throwIfAborted();
    checkChunkName(hash);
    checkContent(hash, bytes, 'the caller');
    if (this.#chunks.has(hash)) return;
    // The caller may reuse its buffer.
    this.#chunks.set(hash, Buffer.from(bytes));
    this.#bytes += bytes.length;
  }

  async delete(hash: string, { signal }: CallOptions = {}): Promise<void> {
    signal?.throwIfAborted();
    this.#bytes -= this.#chunks.get(hash)?.length ?? 0;
    this.#chunks.delete(hash);
  }

  async *list({ signal }: CallOptions = {}): AsyncGenerator<{ hash: string; size: number }> {
    for (const [hash, bytes] of [...this.#chunks]) {
      signal?.throwIfAborted();
      yield { hash, size: bytes.length };
    }
  }
}
