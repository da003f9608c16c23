import type { Clock } from '../../shared/base/clock.ts';
import type { Log } from '../../shared/base/log.ts';
import type { ChunkStore } from '../../shared/store/chunk-source.ts';
import type { Table } from '../../shared/store/table.ts';
import type { CompleteView } from '../relay/complete-view.ts';
import type { Views } from '../relay/views.ts';
import { chunksToDelete, type StoredChunk } from './policy.ts';

interface Options {
  readonly store: ChunkStore & { readonly bytes: number };
  readonly views: Views;
  /** When a chunk was last needed, by hash. */
  readonly retired: Table<number>;
  /** Bytes. */
  readonly budget: number;
  /** Runs a deletion so that the line's counters stay true; see Ledger. */
  readonly deleting: (work: (gone: (bytes: number) => void) => Promise<void>) => Promise<void>;
  readonly clock: Clock;
  readonly log: Log;
}

/** Keeps the chunk store within its budget. Admitting and deleting take turns, so that nothing is deleted that was just counted as there. */
export class Retention {
  readonly #o: Options;
  #turn: Promise<unknown> = Promise.resolve();
  #warned = false;

  constructor(options: Options) {
    this.#o = options;
  }

  /** From now on the disk keeps `chunks` for `group`; makes room for those that are missing. @returns the missing ones: hash → bytes */
  admit(group: string, chunks: ReadonlyMap<string, number>): Promise<Map<string, number>> {
    return this.#exclusive(async () => {
      this.#o.views.gather(group, chunks);
      const missing = new Map<string, number>();
      let bytes = 0;
      for (const [hash, size] of chunks) {
        if (await this.#o.store.has(hash)) continue;
        missing.set(hash, size);
        bytes += size;
      }
      await this.#clean(this.#o.budget - bytes);
      return missing;
    });
  }

  /** A view is no longer kept: what only it needed ages from now on. */
  retire(view: CompleteView): Promise<void> {
    return this.#exclusive(async () => {
      const needed = this.#o.views.needed();
      const now = this.#o.clock.now();
      await Promise.all([...view.chunks.keys()].filter((hash) => !needed.has(hash)).map((hash) => this.#o.retired.put(hash, now)));
    });
  }

  /** Deletes what is over budget. */
  run(): Promise<void> {
    return this.#exclusive(() => this.#clean(this.#o.budget));
  }

  async #clean(budget: number): Promise<void> {
    const { store, views, retired, log } = this.#o;
    if (store.bytes <= budget) return;
    const ages = new Map<string, number>();
    for await (const [hash, at] of retired.entries()) ages.set(hash, at);
    const stored: StoredChunk[] = [];
    for await (const { hash, size } of store.list()) stored.push({ hash, size, retiredAt: ages.get(hash) ?? 0 });
    const victims = chunksToDelete(stored, views.needed(), budget);
    if (victims.length > 0) {
      await this.#o.deleting(async (gone) => {
        for (const { hash, size } of victims) {
          await store.delete(hash);
          gone(size);
        }
      });
      await Promise.all(victims.filter(({ hash }) => ages.has(hash)).map(({ hash }) => retired.delete(hash)));
      log.info('retention.deleted', { chunks: victims.length, bytes: victims.reduce((sum, { size }) => sum + size, 0), kept: store.bytes });
    }
    const over = store.bytes > budget;
    if (over && !this.#warned) {
      log.warn('retention.over-budget', {
        needed: store.bytes,
        budget: this.#o.budget,
        remedy: 'Raise retention.budget_mib: the bundles of this site need more than that.',
      });
    }
    this.#warned = over;
  }

  #exclusive<T>(work: () => Promise<T>): Promise<T> {
    const result = this.#turn.then(work);
    // A failed turn is its caller's; the next one starts all the same.
    this.#turn = result.catch(() => undefined);
    return result;
  }
}
