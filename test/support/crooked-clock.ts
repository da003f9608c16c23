import { ManualClock } from './manual-clock.ts';

/** A machine whose wall clock says what a test wants, while its monotonic clock counts the time that truly passes. */
export class CrookedClock extends ManualClock {
  #off: number;

  /** @param truth milliseconds since 1970 @param wall what the machine believes then */
  constructor(truth: number, wall = truth) {
    super(truth);
    this.#off = wall - truth;
  }

  get truth(): number {
    return super.now();
  }

  override now(): number {
    return super.now() + this.#off;
  }

  /** Sets the wall clock. */
  set(wall: number): void {
    this.#off = wall - super.now();
  }
}
