import { chain, type Head, type LogEntry } from '../record/log.ts';
import type { LogTree } from '../record/log-tree.ts';
import { BLOBS, decode, encode, HEAD, logKey, ROWS, tileKey } from './keyspace.ts';
import { project, type Read } from './project.ts';
import type { Row, RowCache } from './row-cache.ts';
import type { Key } from './rows.ts';
import type { Table } from './table.ts';

interface Parts {
  readonly table: Table;
  readonly head: Head;
  readonly tree: LogTree;
  /** Blobs of which it is known that they are on the disk. */
  readonly blobs: Set<string>;
  readonly rows: RowCache;
}

/** One group of changes on its way to the disk; later ones see the rows of earlier ones. */
export class Batch {
  readonly entries: LogEntry[] = [];
  head: Head;
  readonly #parts: Parts;
  /** Rows as this batch leaves them, null: removed. Encoded once, at its end: statements of one batch change the same sums one after the other. */
  readonly #rows = new Map<string, Row>();
  /** Everything else, encoded. */
  readonly #writes = new Map<string, Buffer | undefined>();

  constructor(parts: Parts) {
    this.#parts = parts;
    this.head = parts.head;
  }

  readonly read: Read = <T>(key: Key<T>): T | undefined => {
    const row: T | null = this.#look(key.text);
    return row ?? undefined;
  };

  #look(key: string): Row {
    const staged = this.#rows.get(key);
    if (staged !== undefined) return staged;
    const known = this.#parts.rows.get(key);
    return known === undefined ? this.#load(key) : known;
  }

  #load(key: string): Row {
    const { rows, table } = this.#parts;
    const bytes = table.get(ROWS + key);
    const row = bytes === undefined ? null : decode<Row>(bytes);
    rows.set(key, row);
    return row;
  }

  append(at: string, actor: string, change: LogEntry['change']): LogEntry {
    const entry = chain(this.head, { at, actor, change });
    // Projected completely before anything is staged: a change that contradicts the rows leaves no trace.
    const rows = project(change, entry, this.read);
    this.stage(logKey(entry.sequence), entry);
    for (const { key, value } of rows) this.#rows.set(key, value ?? null);
    this.head = { sequence: entry.sequence, hash: entry.hash };
    // The tree is ahead of the disk until the batch is written; if that fails the registry stops.
    for (const { level, index, bytes } of this.#parts.tree.append(entry.hash)) this.#writes.set(tileKey(level, index), bytes);
    this.entries.push(entry);
    return entry;
  }

  stage(key: string, value: unknown): void {
    this.#writes.set(key, value === undefined ? undefined : encode(value));
  }

  /** Under the name of its hash: what is there already is the same. */
  stageBlob(hash: string, content: Buffer | (() => Buffer)): void {
    const { blobs, table } = this.#parts;
    const key = BLOBS + hash;
    if (blobs.has(key) || this.#writes.has(key)) return;
    if (table.get(key) === undefined) this.#writes.set(key, typeof content === 'function' ? content() : content);
    else blobs.add(key);
  }

  /** All of it; empty when nothing was changed. */
  writes(): ReadonlyMap<string, Buffer | undefined> {
    for (const [key, row] of this.#rows) this.stage(ROWS + key, row ?? undefined);
    if (this.entries.length > 0) this.stage(HEAD, this.head);
    return this.#writes;
  }

  /** It is on the disk: the rows it leaves are what the next one finds. */
  remember(): void {
    for (const [key, row] of this.#rows) this.#parts.rows.set(key, row);
  }
}
