import { z } from 'zod';
import type { Clock } from '../shared/base/clock.ts';
import { isWardcastError } from '../shared/base/errors.ts';
import { LEDGER_INTERVAL } from '../shared/base/limits.ts';
import type { Log } from '../shared/base/log.ts';
import type { Table } from '../shared/store/table.ts';

export const LedgerRecord = z.strictObject({
  /** Bytes read from the uplink's socket. */
  received: z.int().min(0),
  /** Bytes of content stored, each chunk once. */
  unique: z.int().min(0),
  /** `unique` minus what the store held then: what was deleted since. */
  offset: z.int(),
});
export type LedgerRecord = z.infer<typeof LedgerRecord>;
const KEY = 'line';

/**
 * What the line cost and what it brought, since the data directory was made.
 *
 * `unique` costs no write per chunk: it is what the store holds plus what was ever deleted, and retention saves before it deletes,
 * so it is exact after a kill. `received` is saved every second while it moves, so a kill loses a second of it at most.
 */
export class Ledger {
  readonly #table: Table<LedgerRecord>;
  readonly #stored: () => number;
  #traffic: () => number = () => 0;
  #base: LedgerRecord;
  #saved: LedgerRecord;
  #highest: number;

  private constructor(table: Table<LedgerRecord>, stored: () => number, saved: LedgerRecord) {
    this.#table = table;
    this.#stored = stored;
    this.#saved = saved;
    // A kill in the middle of deleting: the saved figure is the true one, what the store still holds is not.
    this.#highest = Math.max(saved.unique, stored() + saved.offset);
    this.#base = { received: saved.received, unique: this.#highest, offset: this.#highest - stored() };
  }

  /** @param stored bytes the chunk store holds now */
  static async open(table: Table<LedgerRecord>, stored: () => number): Promise<Ledger> {
    return new Ledger(table, stored, (await table.get(KEY)) ?? { received: 0, unique: 0, offset: 0 });
  }

  /** Counts this connection's received bytes from now on. */
  follow(traffic: () => number): void {
    this.#traffic = traffic;
  }

  get received(): number {
    return this.#base.received + this.#traffic();
  }

  get unique(): number {
    this.#highest = Math.max(this.#highest, this.#stored() + this.#base.offset);
    return this.#highest;
  }

  /** Around a deletion of chunks, which tells the bytes that are gone: what is deleted was brought all the same. */
  async deleting(work: (gone: (bytes: number) => void) => Promise<void>): Promise<void> {
    await this.save();
    try {
      await work((bytes) => {
        this.#base = { ...this.#base, offset: this.#base.offset + bytes };
      });
    } finally {
      await this.save();
    }
  }

  /** Durable when it returns. */
  async save(): Promise<void> {
    const now: LedgerRecord = { received: this.received, unique: this.unique, offset: this.#base.offset };
    if (now.received === this.#saved.received && now.unique === this.#saved.unique && now.offset === this.#saved.offset) return;
    await this.#table.put(KEY, now);
    this.#saved = now;
  }

  /** Saves while the figures move, until the signal aborts. */
  run(clock: Clock, log: Log, signal: AbortSignal): Promise<void> {
    return keepSaved(this, clock, log, signal);
  }
}

/** Figures for people: a disk that does not take them stops nothing. */
export async function keepSaved(figures: { save(): Promise<void> }, clock: Clock, log: Log, signal: AbortSignal): Promise<void> {
  while (!signal.aborted) {
    await clock.sleep(LEDGER_INTERVAL, { signal }).catch(() => undefined);
    await figures.save().catch((error: unknown) => {
      if (!isWardcastError(error, 'STORAGE_FAILED')) throw error;
      log.error('ledger.not-saved', { error });
    });
  }
}
