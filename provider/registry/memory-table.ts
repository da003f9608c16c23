import type { FrozenTable, Table } from './table.ts';

/** A table that forgets: for replaying a log and for tests. */
export class MemoryTable implements Table {
  readonly #rows: Map<string, Buffer>;

  constructor(rows: Map<string, Buffer> = new Map()) {
    this.#rows = rows;
  }

  get(key: string): Buffer | undefined {
    return this.#rows.get(key);
  }

  async *scan(from: string, to: string): AsyncGenerator<readonly [string, Buffer]> {
    const found = [...this.#rows].filter(([key]) => key >= from && key < to);
    yield* found.sort(([a], [b]) => (a < b ? -1 : 1));
  }

  async *batches(from: string, to: string): AsyncGenerator<readonly (readonly [string, Buffer])[]> {
    const batch: (readonly [string, Buffer])[] = [];
    for await (const row of this.scan(from, to)) batch.push(row);
    yield batch;
  }

  async commit(writes: ReadonlyMap<string, Buffer | undefined>): Promise<void> {
    for (const [key, value] of writes) {
      if (value === undefined) this.#rows.delete(key);
      else this.#rows.set(key, value);
    }
  }

  frozen(): FrozenTable {
    const copy = new MemoryTable(new Map(this.#rows));
    return { get: (key) => copy.get(key), scan: (from, to) => copy.scan(from, to), release: async () => undefined };
  }

  async close(): Promise<void> {}
}
