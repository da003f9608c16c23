import type { VirtualTime } from './virtual-time.ts';

/** Bytes per millisecond at 1 Mbit/s. */
export const MBIT = 125;

interface Item {
  /** Left to be put on the line. */
  bytes: number;
  readonly arrive: () => void;
}

/**
 * A full-duplex port: what leaves is cut into pieces of at most `piece` bytes, in turn from all connections that have something to send (each
 * a first in, first out queue, as TCP is); what comes in queues at the port's own rate. The switch between ports is ideal: no loss, any queue.
 * A piece arrives when its last byte came through the slower of both ports (cut-through), so nothing is counted twice.
 */
export class Port {
  readonly #time: VirtualTime;
  readonly #piece: number;
  readonly #up: number;
  readonly #down: number;
  /** Directions that have something to send, in turn. */
  readonly #turns: Direction[] = [];
  #sending = false;
  #downFree = 0;
  /** Bytes of content that left. */
  sent = 0;

  /** @param up bytes per millisecond */
  constructor(time: VirtualTime, { up, down, piece }: { readonly up: number; readonly down: number; readonly piece: number }) {
    this.#time = time;
    this.#piece = piece;
    this.#up = up;
    this.#down = down;
  }

  /** Something waits in this direction. */
  ready(direction: Direction): void {
    this.#turns.push(direction);
    if (!this.#sending) this.#next();
  }

  /** When what begins to arrive now, having left at a rate that ends it at `end`, is here. */
  take(bytes: number, end: number): number {
    this.#downFree = Math.max(this.#downFree, this.#time.now) + bytes / this.#down;
    return Math.max(end, this.#downFree);
  }

  #next(): void {
    const direction = this.#turns.shift();
    this.#sending = direction !== undefined;
    if (direction === undefined) return;
    const bytes = direction.put(this.#piece, this.#up);
    if (direction.waiting) this.#turns.push(direction);
    this.#time.after(bytes / this.#up, () => this.#next());
  }
}

/** One of the two directions of a connection: delivers in order. */
export class Direction {
  readonly #time: VirtualTime;
  readonly #from: Port;
  readonly #to: Port;
  readonly #latency: number;
  readonly #queue: Item[] = [];
  #last = 0;
  closed = false;

  /** @param latency milliseconds */
  constructor(time: VirtualTime, from: Port, to: Port, latency: number) {
    this.#time = time;
    this.#from = from;
    this.#to = to;
    this.#latency = latency;
  }

  get waiting(): boolean {
    return this.#queue.length > 0;
  }

  /** Bytes that have not left. */
  get unsent(): number {
    return this.#queue.reduce((sum, { bytes }) => sum + bytes, 0);
  }

  send(bytes: number, arrive: () => void): void {
    this.#from.sent += bytes;
    this.#queue.push({ bytes, arrive });
    if (this.#queue.length === 1) this.#from.ready(this);
  }

  /** A few bytes: they take no room on the line, but wait behind what is on it. */
  say(arrive: () => void): void {
    if (this.#queue.length > 0) this.#queue.push({ bytes: 0, arrive });
    else this.#deliver(this.#to.take(0, this.#time.now), arrive);
  }

  /** Nothing more leaves; the other side hears of it. */
  end(arrive: () => void): void {
    this.#queue.length = 0;
    this.#time.after(this.#latency, arrive);
  }

  /** Puts the next piece on the line. @returns its bytes */
  put(piece: number, rate: number): number {
    const item = this.#queue[0];
    if (item === undefined) return 0;
    const bytes = Math.min(piece, item.bytes);
    item.bytes -= bytes;
    const whole = item.bytes <= 0;
    if (whole) this.#queue.shift();
    const said: Item[] = [];
    // What was said after it goes out with it.
    while (whole && this.#queue[0]?.bytes === 0) {
      const next = this.#queue.shift();
      if (next !== undefined) said.push(next);
    }
    const end = this.#time.now + bytes / rate;
    const arrived = this.#to.take(bytes, end);
    if (whole) this.#deliver(arrived, item.arrive);
    for (const { arrive } of said) this.#deliver(arrived, arrive);
    return bytes;
  }

  #deliver(at: number, arrive: () => void): void {
    this.#last = Math.max(this.#last, at + this.#latency);
    this.#time.at(this.#last, () => {
      if (!this.closed) arrive();
    });
  }
}
