import { toWardcastError, WardcastError } from '../../shared/base/errors.ts';
import { broken, type LogEntry } from '../record/log.ts';
import { padded } from './rows.ts';

/** How the registry lies in its table: five key spaces, each a letter and `!`. Values are JSON, blobs raw bytes. */
export const LOG = 'l!';
export const ROWS = 'r!';
export const BLOBS = 'b!';
export const NOTES = 'n!';
/** Tiles of the Merkle tree over the log. */
export const TILES = 't!';
/** The head stands among the rows: so they prove how long the log has to be. */
export const HEAD = `${ROWS}head`;

export function logKey(sequence: number): string {
  return `${LOG}${padded(sequence)}`;
}

/** The first key after all that start with `prefix`: `~` and below is all that keys contain. */
export function after(prefix: string): string {
  return `${prefix}\u{10ffff}`;
}

export function tileKey(level: number, index: number): string {
  return `${TILES}${level}!${padded(index)}`;
}

export function encode(value: unknown): Buffer {
  return Buffer.from(JSON.stringify(value), 'utf8');
}

/** Reads back what `encode` wrote; the caller knows the type by the key. @throws STORAGE_FAILED when it is damaged */
export function decode<T>(bytes: Buffer): T {
  try {
    const value: T = JSON.parse(bytes.toString('utf8'));
    return value;
  } catch (cause) {
    throw new WardcastError('STORAGE_FAILED', `A row of the registry is damaged: ${JSON.stringify(bytes.toString('utf8').slice(0, 100))}`, {
      cause,
      remedy: 'Stop the provider and run `wardcast registry rebuild --data <dir>`, which writes the rows anew from the log; check the disk.',
    });
  }
}

/** @throws LOG_BROKEN when it is damaged */
export function decodeEntry(bytes: Buffer, sequence: number): LogEntry {
  try {
    const entry: LogEntry | null = JSON.parse(bytes.toString('utf8'));
    if (typeof entry === 'object' && entry !== null) return entry;
  } catch (error) {
    throw broken(sequence, `entry ${sequence} cannot be read: ${toWardcastError(error).message}`);
  }
  throw broken(sequence, `entry ${sequence} is none`);
}
