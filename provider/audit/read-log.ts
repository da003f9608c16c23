import { isWardcastError, toWardcastError, WardcastError } from '../../shared/base/errors.ts';
import { sha256 } from '../../shared/bundle/digest.ts';
import { broken, checkLink, EMPTY, type Head, type LogEntry } from '../record/log.ts';
import { Change } from '../registry/changes.ts';
import { after, decode, decodeEntry, encode, LOG, logKey } from '../registry/keyspace.ts';
import type { FrozenTable } from '../registry/table.ts';

/**
 * The entries of a log, oldest first, each held to the chain and to its one way of being written: a bit that no hash covers cannot hide in it.
 * @throws LOG_BROKEN, with the number of the first entry that does not hold
 */
export async function* readLog(table: FrozenTable): AsyncGenerator<LogEntry> {
  let head: Head = EMPTY;
  try {
    for await (const [key, bytes] of table.scan(LOG, after(LOG))) {
      const entry = readEntry(head.sequence + 1, key, bytes);
      checkLink(head, entry);
      yield entry;
      head = entry;
    }
  } catch (error) {
    if (error instanceof WardcastError) throw error;
    // The database itself may refuse to read a damaged block.
    throw broken(head.sequence + 1, `entry ${head.sequence + 1} cannot be read: ${toWardcastError(error).message}`);
  }
}

function readEntry(sequence: number, key: string, bytes: Buffer): LogEntry {
  if (key !== logKey(sequence)) throw broken(sequence, `entry ${sequence} is missing: ${JSON.stringify(key)} stands in its place`);
  try {
    const { sequence: number, hash, at, actor, change } = decodeEntry(bytes, sequence);
    const entry: LogEntry = { sequence: number, hash, at, actor, change: Change.parse(change) };
    if (typeof actor === 'string' && !Number.isNaN(Date.parse(at)) && encode({ ...entry, change: decode<LogEntry>(bytes).change }).equals(bytes)) return entry;
  } catch (error) {
    if (isWardcastError(error, 'LOG_BROKEN')) throw error;
    throw broken(sequence, `entry ${sequence} is no entry of a log: ${toWardcastError(error).message}`);
  }
  throw broken(sequence, `entry ${sequence} is not written as this log writes its entries (sha256 of what stands there: ${sha256(bytes)})`);
}
