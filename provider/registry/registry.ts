import type { Head, LogEntry } from '../record/log.ts';
import type { LogTree } from '../record/log-tree.ts';
import type { Change } from './changes.ts';
import type { Read } from './project.ts';
import type { Key, Prefix } from './rows.ts';

/** A note: kept beside the rows, not part of the log and not compared with it (what gateways report, signed metadata of groups). */
export interface Note<T> {
  readonly text: string;
  readonly note?: T;
}

/** What a decision leads to; all of it becomes durable together or not at all. */
export interface Decision<T> {
  readonly result: T;
  readonly change?: Change;
  /** Content the change refers to by its sha256: certificate chains, signed metadata. Written once; a function is asked only then. */
  readonly blobs?: ReadonlyMap<string, Buffer | (() => Buffer)>;
  readonly notes?: readonly NoteWrite[];
}
export interface NoteWrite {
  readonly key: Note<unknown>;
  readonly value: unknown;
}

export interface Checked {
  readonly entries: number;
  readonly head: string;
  readonly rows: number;
  /** One sentence each, at most 100. Empty: the registry is what the log says. */
  readonly differences: readonly string[];
  /** The log itself verifies, up to the end that the registry names: rows that differ can be written anew from it. */
  readonly intact: boolean;
}

/**
 * The vendor's database: a durable, hash-chained log of changes, and rows that are its projection.
 * One writer decides at a time, on rows that include everything decided before.
 */
export interface Registry {
  readonly head: Head;
  /** The Merkle tree over the log. It may be ahead of the disk: prove nothing beyond `head`. */
  readonly tree: Pick<LogTree, 'nodes' | 'root'>;
  /**
   * Runs `decide` on the rows as they then are; what it returns is logged, projected and synced together with what others decide
   * meanwhile. Resolves when it survives a power cut. What `decide` throws rejects this call alone, and nothing is written.
   * @throws BUSY, STORAGE_FAILED; CONFLICT or NOT_FOUND when the change contradicts the rows
   */
  transact<T>(actor: string, decide: (read: Read) => Decision<T>): Promise<{ readonly result: T; readonly entry: LogEntry | undefined }>;
  /** Told of every entry, in order, once it is durable. Returns the way to stop. */
  onEntry(listener: (entry: LogEntry) => void): () => void;
  /** Told once when it cannot be written any more; every later call fails until it is opened anew. */
  onFailure(listener: (error: Error) => void): void;
  get<T>(key: Key<T>): Promise<T | undefined>;
  /** In the order of keys. */
  list<T>(prefix: Prefix<T>): AsyncIterable<T>;
  /** Keys and encoded rows, many at a time, in the order of keys. */
  batches<T>(prefix: Prefix<T>): AsyncIterable<readonly (readonly [key: string, row: Buffer])[]>;
  entry(sequence: number): Promise<LogEntry | undefined>;
  /** From `from` on, oldest first. */
  entries(from: number): AsyncIterable<LogEntry>;
  blob(sha256: string): Promise<Buffer | undefined>;
  note<T>(key: Note<T>): Promise<T | undefined>;
  notes<T>(prefix: Note<T>): AsyncIterable<T>;
  /** Replays the log into nothing and compares byte by byte; the registry goes on meanwhile. */
  check(): Promise<Checked>;
  close(): Promise<void>;
}
