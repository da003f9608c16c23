import type { Clock } from '../../shared/base/clock.ts';
import { timestamp } from '../../shared/base/clock.ts';
import { toWardcastError, WardcastError } from '../../shared/base/errors.ts';
import { CHAINS_REMEMBERED, LOG_GROUP_COMMIT, MAX_QUEUED_CHANGES, ROWS_REMEMBERED } from '../../shared/base/limits.ts';
import type { Log } from '../../shared/base/log.ts';
import type { Head, LogEntry } from '../record/log.ts';
import { LogTree } from '../record/log-tree.ts';
import { Batch } from './batch.ts';
import { checkTable } from './check.ts';
import { after, BLOBS, decode, decodeEntry, LOG, logKey, NOTES, ROWS, tileKey } from './keyspace.ts';
import { entryAt, readLogEnd } from './log-end.ts';
import type { Read } from './project.ts';
import type { Checked, Decision, Note, Registry } from './registry.ts';
import { RowCache } from './row-cache.ts';
import type { Key, Prefix } from './rows.ts';
import type { Table } from './table.ts';

interface Waiting {
  readonly run: (batch: Batch) => () => void;
  readonly fail: (error: unknown) => void;
}

/** The registry on any ordered table: group commit, one writer, fail-stop. */
export class LogRegistry implements Registry {
  readonly tree: LogTree;
  readonly #table: Table;
  readonly #clock: Clock;
  readonly #log: Log;
  readonly #listeners = new Set<(entry: LogEntry) => void>();
  readonly #failureListeners: ((error: Error) => void)[] = [];
  /** Blobs of which it is known that they are on the disk. */
  readonly #blobs = new Set<string>();
  readonly #rows = new RowCache(ROWS_REMEMBERED);
  #head: Head;
  #queue: Waiting[] = [];
  #writing: Promise<void> | undefined;
  #broken: WardcastError | undefined;

  /** @throws LOG_BROKEN when the end of the log is damaged: nothing may be chained onto it */
  constructor(table: Table, { clock, log }: { clock: Clock; log: Log }) {
    this.#table = table;
    this.#clock = clock;
    this.#log = log;
    this.#head = readLogEnd(table);
    const leaf = (sequence: number): string => entryAt(table, sequence).hash;
    this.tree = new LogTree({ get: (level, index) => table.get(tileKey(level, index)) }, this.#head.sequence, leaf);
  }

  get head(): Head {
    return this.#head;
  }

  transact<T>(actor: string, decide: (read: Read) => Decision<T>): Promise<{ result: T; entry: LogEntry | undefined }> {
    if (this.#broken !== undefined) return Promise.reject(this.#broken);
    if (this.#queue.length >= MAX_QUEUED_CHANGES) {
      return Promise.reject(
        new WardcastError('BUSY', `${this.#queue.length} changes wait for the disk`, {
          remedy: 'Ask again in a second; if it stays so, the disk is too slow.',
        }),
      );
    }
    return new Promise((resolve, reject) => {
      const run = (batch: Batch): (() => void) => {
        const decision = decide(batch.read);
        const entry = decision.change === undefined ? undefined : batch.append(timestamp(this.#clock), actor, decision.change);
        for (const [hash, bytes] of decision.blobs ?? []) batch.stageBlob(hash, bytes);
        for (const { key, value } of decision.notes ?? []) batch.stage(NOTES + key.text, value);
        return () => resolve({ result: decision.result, entry });
      };
      this.#queue.push({ run, fail: reject });
      this.#writing ??= this.#write();
    });
  }

  onEntry(listener: (entry: LogEntry) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  onFailure(listener: (error: Error) => void): void {
    this.#failureListeners.push(listener);
  }

  async get<T>(key: Key<T>): Promise<T | undefined> {
    const bytes = this.#table.get(ROWS + key.text);
    return bytes === undefined ? undefined : decode<T>(bytes);
  }

  async *list<T>(prefix: Prefix<T>): AsyncGenerator<T> {
    for await (const [, bytes] of this.#table.scan(ROWS + prefix.text, after(ROWS + prefix.text))) yield decode<T>(bytes);
  }

  async *batches<T>(prefix: Prefix<T>): AsyncGenerator<readonly (readonly [string, Buffer])[]> {
    for await (const rows of this.#table.batches(ROWS + prefix.text, after(ROWS + prefix.text)))
      yield rows.map(([key, row]) => [key.slice(ROWS.length), row] as const);
  }

  async entry(sequence: number): Promise<LogEntry | undefined> {
    const bytes = this.#table.get(logKey(sequence));
    return bytes === undefined ? undefined : decodeEntry(bytes, sequence);
  }

  async *entries(from: number): AsyncGenerator<LogEntry> {
    let next = from;
    for await (const [, bytes] of this.#table.scan(logKey(from), after(LOG))) yield decodeEntry(bytes, next++);
  }

  async blob(sha256: string): Promise<Buffer | undefined> {
    return this.#table.get(BLOBS + sha256);
  }

  async note<T>(key: Note<T>): Promise<T | undefined> {
    const bytes = this.#table.get(NOTES + key.text);
    return bytes === undefined ? undefined : decode<T>(bytes);
  }

  async *notes<T>(prefix: Note<T>): AsyncGenerator<T> {
    for await (const [, bytes] of this.#table.scan(NOTES + prefix.text, after(NOTES + prefix.text))) yield decode<T>(bytes);
  }

  async check(): Promise<Checked> {
    const frozen = this.#table.frozen();
    try {
      return await checkTable(frozen);
    } finally {
      await frozen.release();
    }
  }

  /** Waits for what was queued; nothing is lost. */
  async close(): Promise<void> {
    await this.#writing;
    this.#broken ??= new WardcastError('ABORTED', 'The registry is closed');
    await this.#table.close();
  }

  async #write(): Promise<void> {
    // What the same tick still brings shares the first sync.
    await Promise.resolve();
    while (this.#queue.length > 0 && this.#broken === undefined) await this.#writeGroup(this.#queue.splice(0, LOG_GROUP_COMMIT));
    for (const waiting of this.#queue.splice(0)) waiting.fail(this.#broken);
    this.#writing = undefined;
  }

  async #writeGroup(group: readonly Waiting[]): Promise<void> {
    if (this.#blobs.size > CHAINS_REMEMBERED) this.#blobs.clear();
    const batch = new Batch({ table: this.#table, head: this.#head, tree: this.tree, blobs: this.#blobs, rows: this.#rows });
    const decided: { done: () => void; fail: (error: unknown) => void }[] = [];
    for (const { run, fail } of group) {
      try {
        decided.push({ done: run(batch), fail });
      } catch (error) {
        fail(error);
      }
    }
    try {
      // Power cut here? Nobody was told anything yet: the whole group is there afterwards, or nothing of it.
      const writes = batch.writes();
      if (writes.size > 0) await this.#table.commit(writes);
    } catch (error) {
      // Whether any of it reached the disk is unknown. Going on could chain onto an entry that is not there: stop, and look again at the next start.
      this.#broken = toWardcastError(error, 'STORAGE_FAILED', 'The registry cannot be written');
      this.#log.error('registry.failed', { error: this.#broken });
      for (const { fail } of decided) fail(this.#broken);
      for (const listener of this.#failureListeners) listener(this.#broken);
      return;
    }
    this.#head = batch.head;
    batch.remember();
    for (const { done } of decided) done();
    for (const entry of batch.entries) for (const listener of this.#listeners) listener(entry);
  }
}
