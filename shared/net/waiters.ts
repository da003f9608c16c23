interface Waiter<T> {
  readonly resolve: (value: T) => void;
  readonly reject: (error: unknown) => void;
}

/** Those who wait for one and the same thing, each free to give up on its own. */
export class Waiters<T> {
  readonly #waiters = new Set<Waiter<T>>();

  /** Nobody waits any more. */
  get forsaken(): boolean {
    return this.#waiters.size === 0;
  }

  /** @param onForsaken called when the last one has given up */
  wait(signal: AbortSignal | undefined, onForsaken: () => void): Promise<T> {
    return new Promise((resolve, reject) => {
      const done = (): void => signal?.removeEventListener('abort', onAbort);
      const onAbort = (): void => {
        this.#waiters.delete(waiter);
        reject(signal?.reason);
        if (this.forsaken) onForsaken();
      };
      const waiter: Waiter<T> = {
        resolve: (value) => {
          done();
          resolve(value);
        },
        reject: (error) => {
          done();
          reject(error);
        },
      };
      this.#waiters.add(waiter);
      signal?.addEventListener('abort', onAbort, { once: true });
    });
  }

  resolve(value: T): void {
    for (const waiter of this.#waiters) waiter.resolve(value);
    this.#waiters.clear();
  }

  reject(error: unknown): void {
    for (const waiter of this.#waiters) waiter.reject(error);
    this.#waiters.clear();
  }
}
