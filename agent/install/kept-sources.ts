import { SOURCES_STEP } from '../../shared/base/limits.ts';
import type { Log } from '../../shared/base/log.ts';
import type { JournalEntry } from './entry.ts';
import type { Journal } from './journal.ts';

/** Keeps in the journal, now and then, where a release's bytes came from, so that a device that dies while it fetches still says so. */
export class KeptSources {
  readonly #journal: Pick<Journal, 'put'>;
  readonly #log: Log;
  /** The entry with the bytes of this moment. */
  readonly #entry: () => JournalEntry;
  #kept: number;
  #saving: Promise<void> | undefined;

  constructor(o: { readonly journal: Pick<Journal, 'put'>; readonly log: Log; readonly entry: () => JournalEntry }) {
    this.#journal = o.journal;
    this.#log = o.log;
    this.#entry = o.entry;
    this.#kept = total(o.entry());
  }

  /** Some more came. Returns at once: nothing waits for figures. */
  grew(): void {
    if (this.#saving === undefined && total(this.#entry()) - this.#kept >= SOURCES_STEP) void this.#save();
  }

  /** Returns when all that came is kept, or cannot be. */
  async settle(): Promise<void> {
    await this.#saving;
    if (total(this.#entry()) > this.#kept) await this.#save();
  }

  #save(): Promise<void> {
    const entry = this.#entry();
    this.#kept = total(entry);
    this.#saving = this.#journal
      .put(entry)
      .catch((error: unknown) => this.#log.warn('install.sources-not-kept', { application: entry.application, error }))
      .finally(() => {
        this.#saving = undefined;
      });
    return this.#saving;
  }
}

function total({ sources: { gateway, peer, own, patch } }: JournalEntry): number {
  return gateway + peer + own + patch;
}
