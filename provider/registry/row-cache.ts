/** A decoded row; its key tells the type (`Key<T>`), as it does where rows are decoded. */
export type Row = ReturnType<typeof JSON.parse>;

/** Rows as they are on the disk, decoded: most statements look at rows that the ones before them looked at. Least recently used first, as a Map keeps insertion order. */
export class RowCache {
  readonly #limit: number;
  readonly #rows = new Map<string, Row>();

  constructor(limit: number) {
    this.#limit = limit;
  }

  /** undefined: not known here. */
  get(name: string): Row {
    const row = this.#rows.get(name);
    if (row === undefined) return undefined;
    this.#rows.delete(name);
    this.#rows.set(name, row);
    return row;
  }

  /** `row` undefined: there is none any more. */
  set(name: string, row: Row): void {
    this.#rows.delete(name);
    if (row === undefined) return;
    this.#rows.set(name, row);
    if (this.#rows.size <= this.#limit) return;
    const oldest = this.#rows.keys().next().value;
    if (oldest !== undefined) this.#rows.delete(oldest);
  }
}
