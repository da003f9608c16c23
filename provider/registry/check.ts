import { isWardcastError, toWardcastError } from '../../shared/base/errors.ts';
import { sha256 } from '../../shared/bundle/digest.ts';
import { checkLink, EMPTY, type Head } from '../record/log.ts';
import { LogTree } from '../record/log-tree.ts';
import { Change } from './changes.ts';
import { after, BLOBS, decode, decodeEntry, encode, HEAD, LOG, ROWS, TILES, tileKey } from './keyspace.ts';
import { project } from './project.ts';
import type { Checked } from './registry.ts';
import type { Key } from './rows.ts';
import type { FrozenTable } from './table.ts';

const MAX_DIFFERENCES = 100;

/** Verifies the chain, replays it into empty rows and an empty tree, and compares every byte; then that every blob has the content it is named by. */
export async function checkTable(table: FrozenTable): Promise<Checked> {
  const differences: string[] = [];
  const differs = (sentence: string): void => {
    if (differences.length < MAX_DIFFERENCES) differences.push(sentence);
  };
  const { rows, tiles, head } = await replay(table, differs);
  const expected = rows.size;
  for await (const [key, stored] of table.scan(ROWS, after(ROWS))) {
    const replayed = rows.get(key);
    rows.delete(key);
    if (replayed === undefined) differs(`${key.slice(ROWS.length)} is in the registry, but nothing in the log leads to it`);
    else if (!replayed.equals(stored))
      differs(`${key.slice(ROWS.length)} differs: ${stored.toString('utf8').slice(0, 200)}, by the log ${replayed.toString('utf8').slice(0, 200)}`);
  }
  for (const key of rows.keys()) differs(`${key.slice(ROWS.length)} is missing in the registry`);
  for await (const [key, stored] of table.scan(TILES, after(TILES))) {
    const replayed = tiles.get(key);
    tiles.delete(key);
    if (replayed?.equals(stored) !== true) differs(`tile ${key.slice(TILES.length)} of the log's tree does not follow from the log`);
  }
  for (const key of tiles.keys()) differs(`tile ${key.slice(TILES.length)} of the log's tree is missing`);
  for await (const [key, bytes] of table.scan(BLOBS, after(BLOBS))) {
    if (sha256(bytes) !== key.slice(BLOBS.length)) differs(`blob ${key.slice(BLOBS.length)} does not have the content it is named by`);
  }
  return { entries: head.sequence, head: head.hash, rows: expected, differences };
}

async function replay(table: FrozenTable, differs: (sentence: string) => void): Promise<{ rows: Map<string, Buffer>; tiles: Map<string, Buffer>; head: Head }> {
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
      const entry = decodeEntry(bytes);
      checkLink(head, entry);
      for (const { key, value } of project(Change.parse(entry.change), entry, read)) {
        if (value === undefined) rows.delete(ROWS + key);
        else rows.set(ROWS + key, encode(value));
      }
      for (const { level, index, bytes } of tree.append(entry.hash)) tiles.set(tileKey(level, index), bytes);
      head = { sequence: entry.sequence, hash: entry.hash };
      rows.set(HEAD, encode(head));
    }
  } catch (error) {
    // What comes after a broken link proves nothing; the rows are compared with what was good.
    const why = isWardcastError(error) ? error : toWardcastError(error, 'LOG_BROKEN', `The log does not verify after entry ${head.sequence}`);
    differs(`${why.code}: ${why.message}`);
  }
  return { rows, tiles, head };
}
