/** One chunk to be asked for, and in the name of which group: the provider serves chunks per bundle. */
export interface Pull {
  /** Who needs it; see {@link PullPlan.need}. */
  readonly id: string;
  readonly group: string;
  readonly hash: string;
  /** Bytes. */
  readonly size: number;
}

interface Need {
  readonly group: string;
  readonly missing: Map<string, number>;
  readonly fresh: Iterator<[string, number]>;
  /** Hashes that were on their way for somebody else and did not come. */
  readonly again: string[];
  left: number;
}

/**
 * Which chunk to ask for next, for all groups at once. Pure: it holds what is missing and what is on its way, and does nothing itself.
 * Laws: a chunk is on its way at most once, however many groups need it; groups take turns; a group that failed leaves the others what they need.
 */
export class PullPlan {
  readonly #needs = new Map<string, Need>();
  readonly #flying = new Map<string, string>();

  /** Chunks (hash → bytes) that `id` misses; replaces what it needed before. */
  need(id: string, group: string, missing: ReadonlyMap<string, number>): void {
    const own = new Map(missing);
    let left = 0;
    for (const size of own.values()) left += size;
    this.#needs.set(id, { group, missing: own, fresh: new Map(missing).entries(), again: [], left });
  }

  drop(id: string): void {
    this.#needs.delete(id);
  }

  /** Bytes that `id` still misses; undefined when it needs nothing any more. */
  left(id: string): number | undefined {
    return this.#needs.get(id)?.left;
  }

  /** The next chunk to ask for; undefined: nothing is to be asked now. It counts as on its way until `stored` or `failed`. */
  take(): Pull | undefined {
    for (const [id, need] of [...this.#needs]) {
      const found = this.#next(need);
      if (found === undefined) continue;
      // To the end of the row: the others first, next time.
      this.#needs.delete(id);
      this.#needs.set(id, need);
      this.#flying.set(found.hash, id);
      return { id, group: need.group, ...found };
    }
    return undefined;
  }

  /** The chunk is on the disk. @returns who has everything now */
  stored(hash: string): string[] {
    this.#flying.delete(hash);
    const complete: string[] = [];
    for (const [id, need] of this.#needs) {
      const size = need.missing.get(hash);
      if (size === undefined) continue;
      need.missing.delete(hash);
      need.left -= size;
      if (need.missing.size === 0) {
        this.#needs.delete(id);
        complete.push(id);
      }
    }
    return complete;
  }

  /** The chunk did not come. Whoever asked gives up; the others that need it ask in their own name. */
  failed(hash: string): void {
    const id = this.#flying.get(hash);
    this.#flying.delete(hash);
    if (id !== undefined) this.#needs.delete(id);
    for (const need of this.#needs.values()) if (need.missing.has(hash)) need.again.push(hash);
  }

  #next(need: Need): { hash: string; size: number } | undefined {
    while (true) {
      const hash = need.again.pop() ?? this.#fresh(need);
      if (hash === undefined) return undefined;
      const size = need.missing.get(hash);
      if (size !== undefined && !this.#flying.has(hash)) return { hash, size };
    }
  }

  #fresh(need: Need): string | undefined {
    const step = need.fresh.next();
    return step.done === true ? undefined : step.value[0];
  }
}
