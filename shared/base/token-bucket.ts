import { RATE_LOOK_AGAIN } from './limits.ts';

export interface TokenBucketOptions {
  /** Bytes per second, asked at every take: it may change with the time of day. Infinity: no limit. 0: stopped. */
  readonly rate: () => number;
  /** Bytes that may pass at once after a pause. */
  readonly burst: number;
  /** Milliseconds, monotonic. */
  readonly now: number;
}

/**
 * Paces bytes: over any interval at most rate × time + burst pass (or the largest single take, if that is more than the burst: it
 * passes when the bucket is full, and what follows waits until it is paid for). Pure: it neither waits nor reads a clock.
 */
export class TokenBucket {
  readonly #rate: () => number;
  readonly #burst: number;
  /** Bytes that may pass now; negative while a large take is being paid for. */
  #level: number;
  #filled: number;
  #last: number;

  constructor({ rate, burst, now }: TokenBucketOptions) {
    this.#rate = rate;
    this.#burst = burst;
    this.#level = burst;
    this.#filled = now;
    this.#last = rate();
  }

  /** @returns 0: taken; else milliseconds to wait before asking again, at most RATE_LOOK_AGAIN, so that a change of the rate is noticed */
  take(bytes: number, now: number): number {
    const rate = this.#rate();
    this.#fill(rate, now);
    if (!(rate > 0)) return RATE_LOOK_AGAIN;
    if (rate === Number.POSITIVE_INFINITY) return 0;
    const missing = Math.min(bytes, this.#burst) - this.#level;
    if (missing > 0) return Math.min(RATE_LOOK_AGAIN, Math.max(1, Math.ceil((missing * 1000) / rate)));
    this.#level -= bytes;
    return 0;
  }

  /** With the lower of the rates at both ends: when it changed in between is not known. */
  #fill(rate: number, now: number): void {
    const seconds = Math.max(0, now - this.#filled) / 1000;
    const least = Math.min(rate, this.#last);
    if (seconds > 0 && least > 0) this.#level = Math.min(this.#burst, this.#level + least * seconds);
    this.#filled = Math.max(this.#filled, now);
    this.#last = rate;
  }
}
