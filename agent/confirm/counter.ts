import type { Rows } from '../install/journal.ts';

const KEY = 'counter';

/** The number every statement of this device carries: rises for ever, also through power cuts. A reserved one that is never used is no harm. */
export class Counter {
  readonly #rows: Rows<number>;
  #tail: Promise<unknown> = Promise.resolve();

  constructor(rows: Rows<number>) {
    this.#rows = rows;
  }

  /** Returns when nobody will ever get the same number again. */
  next(): Promise<number> {
    return this.#serial(async () => {
      const next = ((await this.#rows.get(KEY)) ?? 0) + 1;
      await this.#rows.put(KEY, next);
      return next;
    });
  }

  /** The provider has seen higher numbers of this device than it remembers (it was restored): goes on above them. True: that was so. */
  jumpPast(highest: number): Promise<boolean> {
    return this.#serial(async () => {
      if (highest <= ((await this.#rows.get(KEY)) ?? 0)) return false;
      await this.#rows.put(KEY, highest);
      return true;
    });
  }

  #serial<T>(work: () => Promise<T>): Promise<T> {
    const result = this.#tail.then(work);
    this.#tail = result.catch(() => undefined);
    return result;
  }
}
