import { toWardcastError } from '../../shared/base/errors.ts';
import { broken, checkLink, EMPTY, type Head, type LogEntry } from '../record/log.ts';
import { decode, decodeEntry, HEAD, logKey } from './keyspace.ts';
import type { Table } from './table.ts';

/**
 * The end of the log, looked at before anything is chained onto it. An entry, its rows and the head are one synced write: a power cut leaves all of it or
 * nothing, so that whatever is amiss here was acknowledged once. Nothing is cut off, ever: devices hold receipts for it.
 * @throws LOG_BROKEN
 */
export function readLogEnd(table: Pick<Table, 'get'>): Head {
  const head = readHead(table);
  if (head.sequence > 0) {
    const entry = entryAt(table, head.sequence);
    if (entry.hash !== head.hash) throw broken(head.sequence, `entry ${head.sequence} is not the one that the registry names as the last`);
    const before = head.sequence === 1 ? EMPTY : entryAt(table, head.sequence - 1);
    checkLink({ sequence: head.sequence - 1, hash: before.hash }, entry);
  }
  // Chaining on would overwrite it.
  if (table.get(logKey(head.sequence + 1)) !== undefined) {
    throw broken(head.sequence + 1, `entry ${head.sequence + 1} stands behind the end that the registry names`);
  }
  return head;
}

/** @throws LOG_BROKEN when it is missing or damaged */
export function entryAt(table: Pick<Table, 'get'>, sequence: number): LogEntry {
  const bytes = read(table, logKey(sequence), sequence);
  if (bytes === undefined) throw broken(sequence, `entry ${sequence} is missing`);
  return decodeEntry(bytes, sequence);
}

function readHead(table: Pick<Table, 'get'>): Head {
  const bytes = read(table, HEAD, 0);
  if (bytes === undefined) return EMPTY;
  try {
    const { sequence, hash } = decode<Head>(bytes);
    if (Number.isSafeInteger(sequence) && sequence > 0 && typeof hash === 'string') return { sequence, hash };
  } catch (error) {
    throw broken(0, `the row that names its end cannot be read: ${toWardcastError(error).message}`);
  }
  throw broken(0, 'the row that names its end names none');
}

/** The database itself may refuse to read a damaged block. */
function read(table: Pick<Table, 'get'>, key: string, sequence: number): Buffer | undefined {
  try {
    return table.get(key);
  } catch (error) {
    throw broken(sequence, `${sequence === 0 ? 'the row that names its end' : `entry ${sequence}`} cannot be read: ${toWardcastError(error).message}`);
  }
}
