import { sha256 } from '../../shared/bundle/digest.ts';
import { after, BLOBS, ROWS, TILES } from './keyspace.ts';
import type { Checked } from './registry.ts';
import { replay } from './replay.ts';
import type { FrozenTable } from './table.ts';

const MAX_DIFFERENCES = 100;

/** Verifies the chain, replays it into empty rows and an empty tree, and compares every byte; then that every blob has the content it is named by. */
export async function checkTable(table: FrozenTable): Promise<Checked> {
  const differences: string[] = [];
  const differs = (sentence: string): void => {
    if (differences.length < MAX_DIFFERENCES) differences.push(sentence);
  };
  const replayed = await replay(table);
  const { head, broken } = replayed;
  // The rows are compared with what was good.
  if (broken !== undefined) differs(`${broken.code}: ${broken.message}`);
  const rows = new Map(replayed.rows);
  const tiles = new Map(replayed.tiles);
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
  return { entries: head.sequence, head: head.hash, rows: replayed.rows.size, differences, intact: broken === undefined };
}
