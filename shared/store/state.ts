import { Level } from 'level';
import type { z } from 'zod';
import { WardcastError } from '../base/errors.ts';
import { makeDirectory } from './durable-file.ts';
import { GroupCommit } from './group-commit.ts';
import { storageFailed } from './storage-failed.ts';

/** The daemon's own small truths (level, JSON values). Every write is synced: level's default loses acknowledged writes in a power cut. */
export type State = Level<string, unknown>;

/** @throws STORAGE_FAILED when the directory is in use, not writable or damaged */
export async function openState(directory: string): Promise<State> {
  await makeDirectory(directory, 0o700);
  const db = new Level<string, unknown>(directory, { keyEncoding: 'utf8', valueEncoding: 'json' });
  try {
    await db.open();
  } catch (error) {
    throw storageFailed(error, 'Cannot open the database', directory);
  }
  return db;
}

/** Returns when the value survives a power cut. @throws STORAGE_FAILED */
export async function putSync(db: State, key: string, value: unknown): Promise<void> {
  try {
    await db.put(key, value, { sync: true });
  } catch (error) {
    throw storageFailed(error, `Cannot write ${key} to`, db.location);
  }
}

/** Idempotent. @throws STORAGE_FAILED */
export async function deleteSync(db: State, key: string): Promise<void> {
  try {
    await db.del(key, { sync: true });
  } catch (error) {
    throw storageFailed(error, `Cannot delete ${key} from`, db.location);
  }
}

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
