import { MAX_PUTS_AT_ONCE } from '../../shared/base/limits.ts';
import type { ChunkStore } from '../../shared/store/chunk-source.ts';

/** Chunks on their way into a store, a bounded number at a time. They share the disk's syncs, across files too. */
export class PutQueue {
  readonly #store: ChunkStore;
  readonly #signal: AbortSignal | undefined;
  readonly #running = new Set<Promise<void>>();
  #failure: { readonly error: unknown } | undefined;

  constructor(store: ChunkStore, signal?: AbortSignal) {
    this.#store = store;
    this.#signal = signal;
  }

  /** Returns when there is room for more. @throws what an earlier put threw */
  async add(hash: string, bytes: Buffer): Promise<void> {
    const put = this.#store
      .put(hash, bytes, { signal: this.#signal })
      .catch((error: unknown) => {
        this.#failure ??= { error };
      })
      .finally(() => this.#running.delete(put));
    this.#running.add(put);
    while (this.#running.size >= MAX_PUTS_AT_ONCE) await Promise.race(this.#running);
    if (this.#failure !== undefined) throw this.#failure.error;
  }

  /** Returns when everything is durable. @throws what a put threw */
  async drain(): Promise<void> {
    await Promise.all(this.#running);
    if (this.#failure !== undefined) throw this.#failure.error;
  }
}
