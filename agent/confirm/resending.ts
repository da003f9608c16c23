import type { Clock } from '../../shared/base/clock.ts';
import { toWardcastError } from '../../shared/base/errors.ts';
import { STATEMENT_RETRY_MAX, STATEMENT_RETRY_MIN } from '../../shared/base/limits.ts';
import type { Log } from '../../shared/base/log.ts';

export interface ResendingOptions {
  /** Says all again that waits for a receipt. */
  readonly resend: () => Promise<void>;
  readonly clock: Clock;
  /** In [0, 1). */
  readonly random: () => number;
  readonly log: Log;
  readonly signal: AbortSignal;
}

/** What passes at the gateway by itself or by somebody's hand: its disk was full, or too much came at once. */
const PASSING: ReadonlySet<string> = new Set(['STORAGE_FAILED', 'SPACE_SHORT', 'BUSY']);

/** Says statements again that the gateway could not take in, with growing pauses: over a connection that lasts for weeks nothing else would. */
export class Resending {
  readonly #o: ResendingOptions;
  #running: Promise<void> | undefined;
  #attempt = 0;
  #last = Number.NEGATIVE_INFINITY;

  constructor(options: ResendingOptions) {
    this.#o = options;
  }

  /** The gateway refused a statement for this reason. */
  refused(code: string): void {
    if (!PASSING.has(code) || this.#running !== undefined || this.#o.signal.aborted) return;
    const now = this.#o.clock.monotonic();
    this.#attempt = now - this.#last > 2 * STATEMENT_RETRY_MAX ? 0 : this.#attempt + 1;
    this.#last = now;
    this.#running = this.#again().finally(() => {
      this.#running = undefined;
    });
  }

  async idle(): Promise<void> {
    await this.#running;
  }

  async #again(): Promise<void> {
    const { resend, clock, random, log, signal } = this.#o;
    const wait = Math.min(STATEMENT_RETRY_MAX, STATEMENT_RETRY_MIN * 2 ** Math.min(16, this.#attempt)) * (0.5 + random() / 2);
    log.info('statement.said-later', { attempt: this.#attempt, wait: Math.round(wait) });
    try {
      await clock.sleep(wait, { signal });
      await resend();
    } catch (error) {
      // At the next connect all of it is said again in any case.
      if (!signal.aborted) log.warn('statement.not-said-again', { error: toWardcastError(error) });
    }
  }
}
