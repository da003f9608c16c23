import type { Clock } from '../../shared/base/clock.ts';
import { timestamp } from '../../shared/base/clock.ts';
import { toWardcastError, WardcastError } from '../../shared/base/errors.ts';
import { LOG_GROUP_COMMIT, MAX_QUEUED_CHANGES } from '../../shared/base/limits.ts';
import type { Log } from '../../shared/base/log.ts';
import { chain, EMPTY, type Head, type LogEntry } from '../record/log.ts';
import { checkTable } from './check.ts';
import { after, BLOBS, decode, decodeEntry, encode, HEAD, LOG, logKey, NOTES, ROWS } from './keyspace.ts';
import { project, type Read } from './project.ts';
import type { Checked, Decision, Note, Registry } from './registry.ts';
import type { Key, Prefix } from './rows.ts';
import type { Table } from './table.ts';

interface Waiting {
  readonly run: (batch: Batch) => () => void;
  readonly fail: (error: unknown) => void;
}

/** The registry on any ordered table: group commit, one writer, fail-stop. */
export class LogRegistry implements Registry {
  readonly #table: Table;
  readonly #clock: Clock;
  readonly #log: Log;
  readonly #listeners = new Set<(entry: LogEntry) => void>();
  readonly #failureListeners: ((error: Error) => void)[] = [];
  #head: Head;
  #queue: Waiting[] = [];
  #writing: Promise<void> | undefined;
  #broken: WardcastError | undefined;

  constructor(table: Table, { clock, log }: { clock: Clock; log: Log }) {
    this.#table = table;
    this.#clock = clock;
    this.#log = log;
    const head = table.get(HEAD);
    this.#head = head === undefined ? EMPTY : decode<Head>(head);
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
        for (const [hash, bytes] of decision.blobs ?? []) batch.stageOnce(BLOBS + hash, bytes);
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
    return bytes === undefined ? undefined : decodeEntry(bytes);
  }

  async *entries(from: number): AsyncGenerator<LogEntry> {
    for await (const [, bytes] of this.#table.scan(logKey(from), after(LOG))) yield decodeEntry(bytes);
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
    const batch = new Batch(this.#table, this.#head);
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
      if (batch.writes.size > 0) await this.#table.commit(batch.writes);
    } catch (error) {
      // Whether any of it reached the disk is unknown. Going on could chain onto an entry that is not there: stop, and look again at the next start.
      this.#broken = toWardcastError(error, 'STORAGE_FAILED', 'The registry cannot be written');
      this.#log.error('registry.failed', { error: this.#broken });
      for (const { fail } of decided) fail(this.#broken);
      for (const listener of this.#failureListeners) listener(this.#broken);
      return;
    }
    this.#head = batch.head;
    for (const { done } of decided) done();
    for (const entry of batch.entries) for (const listener of this.#listeners) listener(entry);
  }
}

/** One group of changes on its way to the disk; later ones see the rows of earlier ones. */
class Batch {
  readonly writes = new Map<string, Buffer | undefined>();
  readonly entries: LogEntry[] = [];
  head: Head;
  readonly #table: Table;

  constructor(table: Table, head: Head) {
    this.#table = table;
    this.head = head;
  }

  readonly read: Read = <T>(key: Key<T>): T | undefined => {
    const name = ROWS + key.text;
    const bytes = this.writes.has(name) ? this.writes.get(name) : this.#table.get(name);
    return bytes === undefined ? undefined : decode<T>(bytes);
  };

  append(at: string, actor: string, change: LogEntry['change']): LogEntry {
    const entry = chain(this.head, { at, actor, change });
    // Projected completely before anything is staged: a change that contradicts the rows leaves no trace.
    const rows = project(change, entry, this.read);
    this.stage(logKey(entry.sequence), entry);
    for (const { key, value } of rows) this.stage(ROWS + key, value);
    this.head = { sequence: entry.sequence, hash: entry.hash };
    this.stage(HEAD, this.head);
    this.entries.push(entry);
    return entry;
  }

  stage(key: string, value: unknown): void {
    this.writes.set(key, value === undefined ? undefined : encode(value));
  }

  stageOnce(key: string, bytes: Buffer): void {
    if (!this.writes.has(key) && this.#table.get(key) === undefined) this.writes.set(key, bytes);
  }
}
