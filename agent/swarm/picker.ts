/** Entries looked at for one choice: the rarest of so many is rare enough, and a choice costs the same in a release of a million chunks. */
const SAMPLE = 48;

/**
 * The chunks that one source has and we still want, and which of them to ask for next: the rarest of a random sample (Bram Cohen, "Incentives
 * Build Robustness in BitTorrent", 2003, section 2.4.2). Random among equals, so that devices of a group choose differently and can pass on to each other.
 * Pure; entries that are no longer wanted are dropped when they are met.
 */
export class Candidates {
  readonly #entries: number[] = [];

  get size(): number {
    return this.#entries.length;
  }

  add(index: number): void {
    this.#entries.push(index);
  }

  /**
   * Takes the chunk to ask for; undefined: there is none now.
   * @param open false: it is here or on its way already
   * @param copies how many sources have it
   */
  take(open: (index: number) => boolean, copies: (index: number) => number, random: () => number): number | undefined {
    const entries = this.#entries;
    let best = -1;
    let bestCopies = Number.POSITIVE_INFINITY;
    let equals = 0;
    const exhaustive = entries.length <= SAMPLE;
    let at = entries.length - 1;
    for (let looked = 0; looked < SAMPLE && entries.length > 0; ) {
      if (exhaustive && at < 0) break;
      if (!exhaustive) at = Math.floor(random() * entries.length);
      const index = entries[at] ?? -1;
      if (!open(index)) {
        this.#drop(at);
        // The last entry took its place; it was looked at already when all are gone through from the end.
        if (best === entries.length) best = at;
        if (exhaustive) at -= 1;
        continue;
      }
      looked += 1;
      const count = copies(index);
      equals = count < bestCopies ? 1 : count === bestCopies ? equals + 1 : equals;
      if (count < bestCopies || (count === bestCopies && random() * equals < 1)) {
        best = at;
        bestCopies = count;
      }
      at -= 1;
    }
    if (best < 0) return undefined;
    const found = entries[best];
    this.#drop(best);
    return found;
  }

  #drop(at: number): void {
    const last = this.#entries.pop();
    if (last !== undefined && at < this.#entries.length) this.#entries[at] = last;
  }
}
