import type { Clock } from '../../shared/base/clock.ts';
import { POWER_CHECK_INTERVAL } from '../../shared/base/limits.ts';
import { onBattery } from './power.ts';

export interface SharingOptions {
  /** `auto`: not on battery or a metered link. */
  readonly share: 'auto' | 'always' | 'never';
  readonly metered: boolean;
  readonly clock: Clock;
  readonly battery?: () => Promise<boolean>;
}

/** Does this device pass chunks on at present? Looks at the power supply when asked, at most every POWER_CHECK_INTERVAL: an idle device wakes up for nothing. */
export class Sharing {
  readonly #o: SharingOptions;
  #battery = false;
  #lookedAt = Number.NEGATIVE_INFINITY;

  constructor(options: SharingOptions) {
    this.#o = options;
    this.#look();
  }

  readonly allowed = (): boolean => {
    const { share, metered } = this.#o;
    if (share !== 'auto') return share === 'always';
    this.#look();
    return !metered && !this.#battery;
  };

  #look(): void {
    const { clock, battery = onBattery, share } = this.#o;
    const now = clock.monotonic();
    if (share !== 'auto' || now - this.#lookedAt < POWER_CHECK_INTERVAL) return;
    this.#lookedAt = now;
    void battery().then(
      (yes) => {
        this.#battery = yes;
      },
      // What cannot be read says nothing.
      () => undefined,
    );
  }
}
