import type { Clock } from '../../shared/base/clock.ts';
import { LINE_BURST, LINE_BURST_MIN } from '../../shared/base/limits.ts';
import type { Log } from '../../shared/base/log.ts';
import { bytesPerSecond, type RatePlan } from '../../shared/base/rate-plan.ts';
import { TokenBucket } from '../../shared/base/token-bucket.ts';

/** What the line may carry of chunks at each time of the day. The gateway asks for every chunk, so pacing what it asks for paces the line. */
export class LineLimit {
  readonly #plan: RatePlan;
  readonly #clock: Clock;
  readonly #log: Log;
  readonly #listeners = new Set<() => void>();
  #rate = Number.NaN;
  #bucket: TokenBucket | undefined;

  constructor(options: { plan: RatePlan; clock: Clock; log: Log }) {
    this.#plan = options.plan;
    this.#clock = options.clock;
    this.#log = options.log;
  }

  /** For ObjectPuller: 0 when so many bytes may be asked for now, else milliseconds until it may be tried again. */
  readonly pace = (bytes: number): number => {
    const now = this.#clock.monotonic();
    const rate = bytesPerSecond(this.#plan, new Date(this.#clock.now()));
    if (rate !== this.#rate || this.#bucket === undefined) {
      this.#rate = rate;
      // A burst that suits the rate: one of a fast window would be long in coming through in a slow one.
      this.#bucket = new TokenBucket({ rate: () => rate, burst: Math.max(LINE_BURST_MIN, Number.isFinite(rate) ? (rate * LINE_BURST) / 1000 : 0), now });
      this.#log.info('line.rate', { mbit: Number.isFinite(rate) ? rate / 125_000 : null });
      for (const listener of this.#listeners) listener();
    }
    return this.#bucket.take(bytes, now);
  };

  /** Why nothing comes at the moment, if that is so. */
  get stopped(): string | undefined {
    return bytesPerSecond(this.#plan, new Date(this.#clock.now())) > 0
      ? undefined
      : 'The time window of the line allows no content now (uplink.limit); it goes on by itself';
  }

  /** Told when another rate holds, while something is wanted. @returns ends that */
  onChange(listener: () => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }
}
