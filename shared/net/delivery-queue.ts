import { MAX_QUEUED_BYTES, MAX_QUEUED_DELIVERIES } from '../base/limits.ts';
import { covers } from '../wire/policy.ts';
import type { Delivery } from './broker.ts';

export interface QueuedDelivery extends Delivery {
  /** Called instead of accept() when the reader went away before it took the delivery. */
  abandon?(): void;
}

/** What one subscriber has not read yet: bounded, one reader, ends for good when closed. */
export class DeliveryQueue implements AsyncIterable<Delivery> {
  readonly filters: readonly string[];
  readonly #onClose: (queue: DeliveryQueue) => void;
  readonly #signal: AbortSignal | undefined;
  #waiting: QueuedDelivery[] = [];
  #bytes = 0;
  #readers: ((result: IteratorResult<Delivery, undefined>) => void)[] = [];
  #senders: (() => void)[] = [];
  #closed = false;

  constructor(filters: readonly string[], onClose: (queue: DeliveryQueue) => void, signal?: AbortSignal) {
    this.filters = filters;
    this.#onClose = onClose;
    this.#signal = signal;
    if (signal?.aborted) this.close();
    else signal?.addEventListener('abort', this.#onAbort, { once: true });
  }

  readonly #onAbort = (): void => this.close();

  matches(topic: string): boolean {
    return !this.#closed && this.filters.some((filter) => covers(filter, topic));
  }

  /** Never refuses: who pushes waits for room() before it takes in more. */
  push(delivery: QueuedDelivery): void {
    if (this.#closed) {
      delivery.abandon?.();
      return;
    }
    const reader = this.#readers.shift();
    if (reader !== undefined) {
      reader({ done: false, value: delivery });
      return;
    }
    this.#waiting.push(delivery);
    this.#bytes += delivery.payload.length;
  }

  get full(): boolean {
    return this.#waiting.length >= MAX_QUEUED_DELIVERIES || this.#bytes >= MAX_QUEUED_BYTES;
  }

  /** Resolves when there is room, or the queue is closed. */
  room(): Promise<void> {
    return this.full ? new Promise((resolve) => this.#senders.push(resolve)) : Promise.resolve();
  }

  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#signal?.removeEventListener('abort', this.#onAbort);
    const waiting = this.#waiting;
    this.#waiting = [];
    this.#bytes = 0;
    for (const reader of this.#readers.splice(0)) reader({ done: true, value: undefined });
    for (const sender of this.#senders.splice(0)) sender();
    for (const delivery of waiting) delivery.abandon?.();
    this.#onClose(this);
  }

  [Symbol.asyncIterator](): AsyncIterator<Delivery, undefined> {
    return {
      next: () => this.#next(),
      return: () => {
        this.close();
        return Promise.resolve({ done: true, value: undefined });
      },
    };
  }

  #next(): Promise<IteratorResult<Delivery, undefined>> {
    const delivery = this.#waiting.shift();
    if (delivery !== undefined) {
      this.#bytes -= delivery.payload.length;
      if (!this.full) for (const sender of this.#senders.splice(0)) sender();
      return Promise.resolve({ done: false, value: delivery });
    }
    if (this.#closed) return Promise.resolve({ done: true, value: undefined });
    return new Promise((resolve) => this.#readers.push(resolve));
  }
}
