/** A decoded row; its key tells the type (`Key<T>`), as it does where rows are decoded. null: there is no such row. */
export type Row = ReturnType<typeof JSON.parse>;

/**
 * Rows as they are on the disk, decoded: most statements look at what the ones before them looked at. Two generations instead of an order of use, which
 * would cost more than it brings: what is asked for moves to the younger, and when that is full the older one is forgotten.
 */
export class RowCache {
  readonly #limit: number;
  #young = new Map<string, Row>();
  #old = new Map<string, Row>();

  /** @param limit rows, at most */
  constructor(limit: number) {
    this.#limit = limit;
  }

  /** undefined: not known here. */
  get(key: string): Row {
    const young = this.#young.get(key);
    if (young !== undefined) return young;
    const old = this.#old.get(key);
    if (old !== undefined) this.set(key, old);
    return old;
  }

  set(key: string, row: Row): void {
    if (this.#young.size * 2 >= this.#limit && !this.#young.has(key)) {
      this.#old = this.#young;
      this.#young = new Map();
    }
    this.#young.set(key, row);
  }
}
