import type { z } from 'zod';
import { WardcastError } from '../base/errors.ts';
import { GroupCommit } from './group-commit.ts';
import type { State } from './state.ts';

/** A named part of the state whose values are checked on the way out: what an older or a damaged version wrote is no surprise later. */
export class Table<V> {
  readonly #db: State;
  readonly #name: string;
  readonly #schema: z.ZodType<V>;
  readonly #rows;
  readonly #commit: GroupCommit;

  constructor(db: State, name: string, schema: z.ZodType<V>) {
    this.#db = db;
    this.#name = name;
    this.#schema = schema;
    this.#rows = db.sublevel<string, unknown>(name, { valueEncoding: 'json' });
    this.#commit = GroupCommit.of(db);
  }

  /** @throws STORAGE_FAILED when what is stored is not what belongs there */
  async get(key: string): Promise<V | undefined> {
    const value = await this.#rows.get(key);
    return value === undefined ? undefined : this.#check(key, value);
  }

  /** Returns when it survives a power cut; concurrent calls share one sync. @throws STORAGE_FAILED */
  put(key: string, value: V): Promise<void> {
    return this.#commit.write((batch) => batch.put(key, value, { sublevel: this.#rows }));
  }

  /** Idempotent. @throws STORAGE_FAILED */
  delete(key: string): Promise<void> {
    return this.#commit.write((batch) => batch.del(key, { sublevel: this.#rows }));
  }

  /** All of it survives a power cut, or nothing. @throws STORAGE_FAILED */
  change(changes: { readonly put: readonly (readonly [string, V])[]; readonly delete: readonly string[] }): Promise<void> {
    return this.#commit.write((batch) => {
      for (const [key, value] of changes.put) batch.put(key, value, { sublevel: this.#rows });
      for (const key of changes.delete) batch.del(key, { sublevel: this.#rows });
    });
  }

  /** In the order of the keys. */
  async *entries({ prefix = '', limit = -1 }: { prefix?: string; limit?: number } = {}): AsyncGenerator<readonly [string, V]> {
    for await (const [key, value] of this.#rows.iterator({ gte: prefix, lt: `${prefix}\u{10ffff}`, limit })) yield [key, this.#check(key, value)];
  }

  #check(key: string, value: unknown): V {
    const parsed = this.#schema.safeParse(value);
    if (parsed.success) return parsed.data;
    throw new WardcastError('STORAGE_FAILED', `${this.#name}/${key} in ${this.#db.location} is not what belongs there`, {
      cause: parsed.error,
      remedy: 'The database was written by another version or is damaged: restore it from a backup, or start with an empty data directory.',
      context: { table: this.#name, key },
    });
  }
}
