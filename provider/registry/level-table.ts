import { Level } from 'level';
import { systemCode, WardcastError } from '../../shared/base/errors.ts';
import { REGISTRY_WRITE_BUFFER, SCAN_BYTES, SCAN_ROWS } from '../../shared/base/limits.ts';
import { makeDirectory } from '../../shared/store/durable-file.ts';
import { storageFailed } from '../../shared/store/storage-failed.ts';
import type { FrozenTable, Table } from './table.ts';

type Db = Level<string, Buffer>;

/**
 * A table on level. Every commit is synced: level's default loses acknowledged writes in a power cut.
 * @throws STORAGE_FAILED, NOT_FOUND when it must exist and does not
 */
export async function openLevelTable(directory: string, { mustExist = false }: { mustExist?: boolean } = {}): Promise<Table> {
  if (!mustExist) await makeDirectory(directory, 0o700);
  const db: Db = new Level<string, Buffer>(directory, {
    keyEncoding: 'utf8',
    valueEncoding: 'buffer',
    createIfMissing: !mustExist,
    writeBufferSize: REGISTRY_WRITE_BUFFER,
  });
  try {
    await db.open();
  } catch (error) {
    if (mustExist && systemCode(error instanceof Error ? error.cause : error) !== 'LEVEL_LOCKED') {
      throw new WardcastError('NOT_FOUND', `${directory} is no registry`, { remedy: 'Name the data directory of a provider.', cause: error });
    }
    throw storageFailed(error, 'Cannot open the registry', directory);
  }
  return new LevelTable(db);
}

class LevelTable implements Table {
  readonly #db: Db;

  constructor(db: Db) {
    this.#db = db;
  }

  get(key: string): Buffer | undefined {
    return this.#db.getSync(key);
  }

  async *scan(from: string, to: string): AsyncGenerator<readonly [string, Buffer]> {
    yield* this.#db.iterator({ gte: from, lt: to });
  }

  async *batches(from: string, to: string): AsyncGenerator<readonly (readonly [string, Buffer])[]> {
    const iterator = this.#db.iterator({ gte: from, lt: to, highWaterMarkBytes: SCAN_BYTES });
    try {
      for (let batch = await iterator.nextv(SCAN_ROWS); batch.length > 0; batch = await iterator.nextv(SCAN_ROWS)) yield batch;
    } finally {
      await iterator.close();
    }
  }

  async commit(writes: ReadonlyMap<string, Buffer | undefined>): Promise<void> {
    const operations = [...writes].map(([key, value]) => (value === undefined ? ({ type: 'del', key } as const) : ({ type: 'put', key, value } as const)));
    try {
      await this.#db.batch(operations, { sync: true });
    } catch (error) {
      throw storageFailed(error, 'Cannot write to the registry', this.#db.location);
    }
  }

  frozen(): FrozenTable {
    const snapshot = this.#db.snapshot();
    const db = this.#db;
    return {
      get: (key) => db.getSync(key, { snapshot }),
      async *scan(from, to) {
        yield* db.iterator({ gte: from, lt: to, snapshot });
      },
      release: () => snapshot.close(),
    };
  }

  async close(): Promise<void> {
    await this.#db.close();
  }
}
