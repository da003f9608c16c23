import { isWardcastError, toWardcastError, type WardcastError } from '../../shared/base/errors.ts';
import { broken, checkLink, EMPTY, type Head } from '../record/log.ts';
import { LogTree } from '../record/log-tree.ts';
import { Change } from './changes.ts';
import { after, decode, decodeEntry, encode, HEAD, LOG, ROWS, tileKey } from './keyspace.ts';
import { project } from './project.ts';
import type { Key } from './rows.ts';
import type { FrozenTable } from './table.ts';

/** What a log alone leads to: rows and tiles by their keys in the table, as far as it verifies. */
export interface Replayed {
  readonly rows: ReadonlyMap<string, Buffer>;
  readonly tiles: ReadonlyMap<string, Buffer>;
  readonly head: Head;
  /** Why it does not verify to the end that the registry names. What comes after a broken link proves nothing. */
  readonly broken: WardcastError | undefined;
}

export async function replay(table: FrozenTable): Promise<Replayed> {
  const rows = new Map<string, Buffer>();
  const tiles = new Map<string, Buffer>();
  const tree = new LogTree({ get: (level, index) => tiles.get(tileKey(level, index)) }, 0, () => '');
  const read = <T>(key: Key<T>): T | undefined => {
    const bytes = rows.get(ROWS + key.text);
    return bytes === undefined ? undefined : decode<T>(bytes);
  };
  let head = EMPTY;
  try {
    for await (const [, bytes] of table.scan(LOG, after(LOG))) {
      const entry = decodeEntry(bytes, head.sequence + 1);
      checkLink(head, entry);
      for (const { key, value } of project(Change.parse(entry.change), entry, read)) {
        if (value === undefined) rows.delete(ROWS + key);
        else rows.set(ROWS + key, encode(value));
      }
      for (const { level, index, bytes } of tree.append(entry.hash)) tiles.set(tileKey(level, index), bytes);
      head = { sequence: entry.sequence, hash: entry.hash };
      rows.set(HEAD, encode(head));
    }
    const named = table.get(HEAD);
    if (named?.equals(rows.get(HEAD) ?? Buffer.alloc(0)) === false || (named === undefined && head.sequence > 0))
      throw broken(head.sequence, `it ends with entry ${head.sequence}, and not where the registry says that it does`);
  } catch (error) {
    const why = isWardcastError(error) ? error : toWardcastError(error, 'LOG_BROKEN', `The log does not verify after entry ${head.sequence}`);
    return { rows, tiles, head, broken: why };
  }
  return { rows, tiles, head, broken: undefined };
}
