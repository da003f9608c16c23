import { toWardcastError, WardcastError } from '../../shared/base/errors.ts';
import { PULL_WINDOW_OBJECTS, RELAY_WINDOW } from '../../shared/base/limits.ts';
import type { Log } from '../../shared/base/log.ts';
import type { ChunkStore } from '../../shared/store/chunk-source.ts';
import { type Pull, PullPlan } from './pull-plan.ts';

/** Asks the provider for one chunk in the name of a group. @throws OBJECT_ABSENT, OBJECT_TIMEOUT, HASH_MISMATCH */
export type AskForChunk = (pull: Pull, signal: AbortSignal) => Promise<Buffer>;

interface Waiting {
  readonly resolve: () => void;
  readonly reject: (error: Error) => void;
  readonly left: (bytes: number) => void;
}

/**
 * Carries chunks from the line to the disk, for all groups at once, following the plan. What is asked for and not yet durable is
 * bounded in bytes, so a slow disk slows the line down and memory stays flat.
 */
export class ChunkPull {
  readonly #plan = new PullPlan();
  readonly #waiting = new Map<string, Waiting>();
  readonly #store: ChunkStore;
  readonly #ask: AskForChunk;
  readonly #log: Log;
  readonly #closing = new AbortController();
  #bytes = 0;
  #pulls = 0;
  #requests = 0;

  constructor(options: { store: ChunkStore; ask: AskForChunk; log: Log }) {
    this.#store = options.store;
    this.#ask = options.ask;
    this.#log = options.log;
  }

  /**
   * Resolves when every chunk of `missing` (hash → bytes) is on the disk; `onLeft` hears the bytes still missing. Chunks already on their way
   * for another group are waited for, not asked twice. An abort leaves what is on its way to arrive: it is paid for.
   * @throws what the first failing chunk threw; STORAGE_FAILED; ABORTED
   */
  async obtain(group: string, missing: ReadonlyMap<string, number>, options: { signal?: AbortSignal; onLeft?: (bytes: number) => void } = {}): Promise<void> {
    options.signal?.throwIfAborted();
    this.#closing.signal.throwIfAborted();
    if (missing.size === 0) return;
    this.#requests += 1;
    const id = `${group}/${this.#requests}`;
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    this.#waiting.set(id, { resolve, reject, left: options.onLeft ?? (() => undefined) });
    const onAbort = (): void => this.#settle(id, toWardcastError(options.signal?.reason, 'ABORTED', 'The pull was cancelled'));
    options.signal?.addEventListener('abort', onAbort, { once: true });
    this.#plan.need(id, group, missing);
    this.#pump();
    try {
      await promise;
    } finally {
      options.signal?.removeEventListener('abort', onAbort);
    }
  }

  close(): void {
    this.#closing.abort(new WardcastError('ABORTED', 'The gateway is stopping'));
    for (const id of [...this.#waiting.keys()]) this.#settle(id, new WardcastError('ABORTED', 'The gateway is stopping'));
  }

  #pump(): void {
    while (!this.#closing.signal.aborted && this.#bytes < RELAY_WINDOW && this.#pulls < PULL_WINDOW_OBJECTS) {
      const pull = this.#plan.take();
      if (pull === undefined) return;
      this.#bytes += pull.size;
      this.#pulls += 1;
      void this.#carry(pull).finally(() => {
        this.#bytes -= pull.size;
        this.#pulls -= 1;
        this.#pump();
      });
    }
  }

  async #carry(pull: Pull): Promise<void> {
    try {
      // It may have come for another group since this one counted what it misses.
      if (!(await this.#store.has(pull.hash))) await this.#store.put(pull.hash, await this.#ask(pull, this.#closing.signal));
    } catch (error) {
      const failure = toWardcastError(error, 'STORAGE_FAILED', `Chunk ${pull.hash} could not be stored`);
      if (failure.code !== 'ABORTED') this.#log.warn('relay.chunk-failed', { group: pull.group, hash: pull.hash, error: failure });
      this.#plan.failed(pull.hash);
      this.#settle(pull.id, failure);
      return;
    }
    const complete = this.#plan.stored(pull.hash);
    for (const [id, waiting] of this.#waiting) waiting.left(this.#plan.left(id) ?? 0);
    for (const id of complete) this.#settle(id);
  }

  #settle(id: string, error?: Error): void {
    const waiting = this.#waiting.get(id);
    this.#waiting.delete(id);
    this.#plan.drop(id);
    if (error === undefined) waiting?.resolve();
    else waiting?.reject(error);
  }
}
