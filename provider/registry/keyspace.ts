import type { LogEntry } from '../record/log.ts';
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

/** Reads back what `encode` wrote; the caller knows the type by the key. */
export function decode<T>(bytes: Buffer): T {
  const value: T = JSON.parse(bytes.toString('utf8'));
  return value;
}

export function decodeEntry(bytes: Buffer): LogEntry {
  return decode<LogEntry>(bytes);
}
