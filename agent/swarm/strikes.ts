import { BAN_TIME, MAX_BANS, MAX_STRIKES } from '../../shared/base/limits.ts';

/** Who sent what was not what it claimed to be: after MAX_STRIKES nothing is taken from it for BAN_TIME. Pure; times are milliseconds, monotonic. */
export class Strikes {
  readonly #records = new Map<string, { count: number; at: number }>();

  /** @returns true when this one was too many */
  strike(who: string, now: number): boolean {
    const known = this.#records.get(who);
    const count = known === undefined || now - known.at >= BAN_TIME ? 1 : known.count + 1;
    // The newest stay: an old offender that is forgotten has to offend again.
    this.#records.delete(who);
    this.#records.set(who, { count, at: now });
    for (const oldest of this.#records.keys()) {
      if (this.#records.size <= MAX_BANS) break;
      this.#records.delete(oldest);
    }
    return count >= MAX_STRIKES;
  }

  banned(who: string, now: number): boolean {
    const known = this.#records.get(who);
    return known !== undefined && known.count >= MAX_STRIKES && now - known.at < BAN_TIME;
  }
}
