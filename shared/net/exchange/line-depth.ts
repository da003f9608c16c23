import { PULL_WINDOW, PULL_WINDOW_BASE, PULL_WINDOW_TRIPS } from '../../base/limits.ts';

/** When an object was asked for, and what had arrived in all by then. */
export interface Asked {
  readonly at: number;
  readonly arrived: number;
}

/** Milliseconds in which an old rate counts half. */
const HALF_LIFE = 5000;

/**
 * How many bytes fill a line: what it delivers per round trip, a few times over, so that it never runs dry while lost packets are sent again,
 * and a little more for short lines. Whatever else was asked for would only lie in the other side's socket, before all that has to be said
 * meanwhile. Rate and time are estimated as BBR does (Cardwell et al., ACM Queue 2016, section 4.1). Pure: times are monotonic milliseconds, passed in.
 */
export class LineDepth {
  #arrived = 0;
  /** Bytes per millisecond: the highest lately. */
  #rate = 0;
  #rateAt = 0;
  /** Milliseconds of the quickest answer. */
  #trip = Number.POSITIVE_INFINITY;

  /** Bytes worth asking for. */
  get bytes(): number {
    if (this.#rate === 0) return PULL_WINDOW_BASE;
    return Math.min(PULL_WINDOW, PULL_WINDOW_BASE + PULL_WINDOW_TRIPS * this.#rate * this.#trip);
  }

  ask(now: number): Asked {
    return { at: now, arrived: this.#arrived };
  }

  arrive(asked: Asked, bytes: number, now: number): void {
    this.#arrived += bytes;
    // Nothing travels in no time, whatever a coarse clock says.
    const took = Math.max(0.05, now - asked.at);
    this.#trip = Math.min(this.#trip, took);
    const faded = this.#rate * 0.5 ** (Math.max(0, now - this.#rateAt) / HALF_LIFE);
    this.#rate = Math.max(faded, (this.#arrived - asked.arrived) / took);
    this.#rateAt = now;
  }

  /** Another connection may take another way. */
  forget(): void {
    this.#trip = Number.POSITIVE_INFINITY;
    this.#rate = 0;
  }
}
