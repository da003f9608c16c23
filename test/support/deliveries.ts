import type { Delivery } from '../../shared/net/broker.ts';

/** Reads a subscription in the background and lets a test wait for what it wants to see. */
export class Inbox {
  readonly all: Delivery[] = [];
  /** Resolves when the subscription ended. */
  readonly ended: Promise<void>;
  readonly #waiting = new Set<() => void>();

  constructor(source: AsyncIterable<Delivery>, options: { accept?: boolean } = {}) {
    this.ended = this.#read(source, options.accept ?? true);
  }

  get texts(): string[] {
    return this.all.map(({ payload }) => payload.toString());
  }

  get topics(): string[] {
    return this.all.map(({ topic }) => topic);
  }

  /** The first `count` deliveries; the test's own time limit ends the wait. */
  async first(count: number): Promise<Delivery[]> {
    while (this.all.length < count) await new Promise<void>((resolve) => this.#waiting.add(resolve));
    return this.all.slice(0, count);
  }

  async with(text: string): Promise<Delivery> {
    for (;;) {
      const found = this.all.find(({ payload }) => payload.toString() === text);
      if (found !== undefined) return found;
      await new Promise<void>((resolve) => this.#waiting.add(resolve));
    }
  }

  async #read(source: AsyncIterable<Delivery>, accept: boolean): Promise<void> {
    for await (const delivery of source) {
      this.all.push(delivery);
      if (accept) delivery.accept();
      for (const wake of this.#waiting) wake();
      this.#waiting.clear();
    }
  }
}
