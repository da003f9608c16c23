import { after, ROWS, TILES } from './keyspace.ts';
import { replay } from './replay.ts';
import type { Table } from './table.ts';

export interface Rebuilt {
  readonly entries: number;
  readonly head: string;
  readonly rows: number;
  /** Rows and tiles that were not as the log says. */
  readonly mended: number;
}

/**
 * Writes the rows anew that are not what the log says, all in one synced write; log and notes stay untouched. For rows that were damaged, and those that an
 * older version, which did not keep them yet, left out.
 * @throws LOG_BROKEN, with nothing changed, when the log itself does not verify up to the end that the registry names
 */
export async function rebuildTable(table: Table): Promise<Rebuilt> {
  const frozen = table.frozen();
  const writes = new Map<string, Buffer | undefined>();
  try {
    const { rows, tiles, head, broken } = await replay(frozen);
    if (broken !== undefined) throw broken;
    for (const [prefix, replayed] of [[ROWS, rows] as const, [TILES, tiles] as const]) {
      const left = new Map(replayed);
      for await (const [key, stored] of frozen.scan(prefix, after(prefix))) {
        const right = left.get(key);
        left.delete(key);
        if (right?.equals(stored) !== true) writes.set(key, right);
      }
      for (const [key, right] of left) writes.set(key, right);
    }
    if (writes.size > 0) await table.commit(writes);
    return { entries: head.sequence, head: head.hash, rows: rows.size, mended: writes.size };
  } finally {
    await frozen.release();
  }
}
