import type { FileHandle } from 'node:fs/promises';
import { Turns } from '../../shared/base/each.ts';

interface Entry {
  readonly handle: Promise<FileHandle>;
  users: number;
}

/** Files kept open between two uses, never more than a limit: releases have up to a hundred thousand, and their chunks come in any order. */
export class OpenFiles<K> {
  readonly #open: (key: K) => Promise<FileHandle>;
  readonly #limit: number;
  readonly #turns: Turns;
  /** The one used longest ago comes first. */
  readonly #entries = new Map<K, Entry>();
  #closing = 0;

  constructor(limit: number, open: (key: K) => Promise<FileHandle>) {
    this.#limit = limit;
    this.#turns = new Turns(limit);
    this.#open = open;
  }

  /** @throws what opening throws, to all who wait for it, and what `work` throws */
  async use<T>(key: K, work: (handle: FileHandle) => Promise<T>): Promise<T> {
    return await this.#turns.run(async () => {
      const entry = this.#take(key);
      try {
        return await work(await entry.handle);
      } finally {
        entry.users -= 1;
      }
    });
  }

  /** For a file that nobody uses any more. */
  async close(key: K): Promise<void> {
    await this.#turns.run(async () => {
      const entry = this.#entries.get(key);
      this.#entries.delete(key);
      this.#closing += 1;
      try {
        await closed(entry);
      } finally {
        this.#closing -= 1;
      }
    });
  }

  async closeAll(): Promise<void> {
    const entries = [...this.#entries.values()];
    this.#entries.clear();
    await Promise.all(entries.map(closed));
  }

  #take(key: K): Entry {
    const known = this.#entries.get(key);
    const entry = known ?? { handle: this.#opened(key), users: 0 };
    entry.users += 1;
    this.#entries.delete(key);
    this.#entries.set(key, entry);
    return entry;
  }

  async #opened(key: K): Promise<FileHandle> {
    // Those who use or close one are no more than the limit, this one included: with as many files open one of them is idle.
    if (this.#entries.size + this.#closing >= this.#limit) {
      for (const [other, entry] of this.#entries) {
        if (entry.users > 0) continue;
        this.#entries.delete(other);
        await closed(entry);
        break;
      }
    }
    try {
      return await this.#open(key);
    } catch (error) {
      this.#entries.delete(key);
      throw error;
    }
  }
}

async function closed(entry: Entry | undefined): Promise<void> {
  let handle: FileHandle | undefined;
  try {
    handle = await entry?.handle;
  } catch {
    // What could not be opened was told to who wanted to use it.
  }
  await handle?.close();
}
