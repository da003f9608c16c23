import type { Clock } from './clock.ts';
import { CLOCK_TOLERANCE, TIME_PROOF_KEPT, WALL_AHEAD_MAX } from './limits.ts';

/** What became known about the wall clock. Times in milliseconds since 1970. */
export type ClockNews =
  /** It is further off than CLOCK_TOLERANCE; told once, until it is right again. */
  | { readonly type: 'wrong'; readonly wall: number; readonly trusted: number }
  | { readonly type: 'right'; readonly wall: number; readonly trusted: number }
  /** It was set, or the machine slept: what was proven of the present no longer holds. */
  | { readonly type: 'jumped'; readonly by: number };

/** A proven instant: `at` lay between our question and its answer, `roundTrip` milliseconds apart by the monotonic clock. */
export interface TimeProof {
  readonly at: number;
  readonly roundTrip: number;
}

/**
 * The time as far as there is evidence for it, whatever the wall clock says. `now` is a lower bound of the true time: the highest instant that signed
 * evidence has shown to be past, plus what the monotonic clock has counted since. It never goes back; over restarts its owner keeps it (`floor`).
 * The wall clock moves it nowhere. It does no I/O and reads only the given clock.
 */
export class TrustedTime implements Clock {
  readonly #clock: Clock;
  /** The lower bound at the monotonic instant `#mark`. */
  #at: number;
  #mark: number;
  /** No evidence is believed beyond: see docs/decisions/time.md. */
  readonly #ceiling: () => number;
  /** Until which monotonic instant a proof of the present holds, and how far it may be off. */
  #proof: { readonly until: number; readonly error: number } | undefined;
  /** Wall minus monotonic, when last looked at. */
  #offset: number;
  #wrong = false;

  /** @param o.floor the last known lower bound, milliseconds since 1970 @param o.ceiling the latest instant that evidence may show, as of now */
  constructor(o: { readonly clock: Clock; readonly floor: number; readonly ceiling: () => number }) {
    this.#clock = o.clock;
    this.#at = o.floor;
    this.#mark = o.clock.monotonic();
    this.#ceiling = o.ceiling;
    this.#offset = o.clock.now() - this.#mark;
  }

  /** The earliest that it can be now, in whole milliseconds. */
  now(): number {
    return Math.floor(this.#bound());
  }

  latest(): number {
    return this.#isProven() ? Math.ceil(this.#bound() + (this.#proof?.error ?? 0)) : Number.POSITIVE_INFINITY;
  }

  monotonic(): number {
    return this.#clock.monotonic();
  }

  sleep(ms: number, options?: { signal?: AbortSignal | undefined }): Promise<void> {
    return this.#clock.sleep(ms, options);
  }

  /** Whether the present is proven, within the round trip of the proof, and not only a lower bound of it. */
  get proven(): boolean {
    return this.#isProven();
  }

  /** Wall clock minus trusted time in milliseconds; undefined while nobody can tell: the present is not proven and the clock not impossible. */
  get offset(): number | undefined {
    const by = this.#clock.now() - this.now();
    return this.#isProven() || by < -CLOCK_TOLERANCE || by > WALL_AHEAD_MAX ? by : undefined;
  }

  /** The offset while the clock is known to be wrong, as last looked at. */
  get wrongBy(): number | undefined {
    return this.#wrong ? this.offset : undefined;
  }

  /** A clock of best guesses, for people and for times of the day. */
  get calendar(): Clock {
    return { now: () => this.guess(), monotonic: () => this.monotonic(), sleep: (ms, options) => this.sleep(ms, options) };
  }

  /**
   * The best guess: the proven time; without one the wall clock, unless that is impossible (before the lower bound) or absurd (years after it).
   * For what may err to the careful side (expiry of metadata), and for people.
   */
  guess(): number {
    const now = this.now();
    const wall = this.#clock.now();
    return !this.#isProven() && wall > now && wall - now <= WALL_AHEAD_MAX ? wall : now;
  }

  /** Something signed shows that this instant is past. @returns whether that was news */
  evidence(at: number): boolean {
    const now = this.#bound();
    const believed = Math.min(at, this.#ceiling());
    if (!Number.isFinite(believed) || believed <= now) return false;
    this.#at = believed;
    this.#mark = this.#clock.monotonic();
    return true;
  }

  /** A proof of the present, fresh at this moment. @returns false when it contradicts earlier evidence, or lies beyond the ceiling: then it is no present to rely on */
  prove({ at, roundTrip }: TimeProof): boolean {
    this.evidence(at);
    const now = this.#bound();
    if (at > now || at + roundTrip + CLOCK_TOLERANCE < now) return false;
    this.#proof = { until: this.#clock.monotonic() + TIME_PROOF_KEPT, error: Math.max(0, at + roundTrip - now) };
    return true;
  }

  /** Compares the wall clock with what is known. Call it now and then, and after every proof. */
  look(): readonly ClockNews[] {
    const news: ClockNews[] = [];
    const wall = this.#clock.now();
    const offset = wall - this.#clock.monotonic();
    const by = offset - this.#offset;
    this.#offset = offset;
    if (Math.abs(by) > CLOCK_TOLERANCE) {
      this.#proof = undefined;
      news.push({ type: 'jumped', by });
    }
    const trusted = this.now();
    // Without a proof the bound may lie far behind the truth: then only a clock before it, or one years ahead, is known to be wrong.
    const ahead = this.#isProven() ? CLOCK_TOLERANCE + (this.#proof?.error ?? 0) : WALL_AHEAD_MAX;
    const wrong = trusted - wall > CLOCK_TOLERANCE || wall - trusted > ahead;
    if (wrong !== this.#wrong && (wrong || this.#isProven())) {
      this.#wrong = wrong;
      news.push({ type: wrong ? 'wrong' : 'right', wall, trusted });
    }
    return news;
  }

  #bound(): number {
    return this.#at + Math.max(0, this.#clock.monotonic() - this.#mark);
  }

  #isProven(): boolean {
    return this.#proof !== undefined && this.#clock.monotonic() < this.#proof.until;
  }
}
