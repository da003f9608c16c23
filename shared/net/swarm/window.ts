/** One thing on its way. */
interface Flight {
  readonly bytes: number;
  readonly at: number;
  /** Bytes delivered in all when it set out. */
  readonly delivered: number;
}

export interface WindowOptions {
  /** Things that may always be on their way, however slow it goes. */
  readonly minimum: number;
  /** Bytes that may be on their way at most. */
  readonly maximum: number;
  /** Milliseconds of waiting in queues that are accepted for full use of the path. */
  readonly allowance: number;
}

/** Samples that the highest rate and the shortest time are taken from. */
const SAMPLES = 32;

/**
 * How much may be on its way: the delivery rate times the shortest time seen plus an allowance. A bigger window than that would only wait in
 * queues. The estimate of the rate is that of BBR (Cardwell et al., "BBR: Congestion-Based Congestion Control", ACM Queue 2016, section 4.1):
 * what was delivered between a thing's start and its arrival. Pure: times (milliseconds, monotonic) are passed in.
 */
export class Window<K> {
  readonly #o: WindowOptions;
  readonly #flights = new Map<K, Flight>();
  /** The last samples, round and round: bytes per millisecond, and milliseconds. */
  readonly #rates = new Float64Array(SAMPLES);
  readonly #times = new Float64Array(SAMPLES);
  #samples = 0;
  /** Of the samples: bytes per millisecond, and milliseconds. They are asked for far more often than they change. */
  #highest = 0;
  #lowest = 0;
  #delivered = 0;
  #bytes = 0;

  constructor(options: WindowOptions) {
    this.#o = options;
  }

  /** Bytes on their way. */
  get bytes(): number {
    return this.#bytes;
  }

  get count(): number {
    return this.#flights.size;
  }

  /** Bytes per second; 0 until something arrived. */
  get rate(): number {
    return this.#highest * 1000;
  }

  /** Milliseconds from start to arrival, of the last one. */
  get latency(): number {
    return this.#samples === 0 ? 0 : (this.#times[(this.#samples - 1) % SAMPLES] ?? 0);
  }

  /** Bytes. */
  get size(): number {
    if (this.#samples === 0) return 0;
    const { allowance, maximum } = this.#o;
    return Math.min(maximum, this.#highest * (this.#lowest + allowance));
  }

  /** May something of so many bytes set out? */
  admits(bytes: number): boolean {
    return this.#flights.size < this.#o.minimum || this.#bytes + bytes <= this.size;
  }

  has(key: K): boolean {
    return this.#flights.has(key);
  }

  keys(): IterableIterator<K> {
    return this.#flights.keys();
  }

  /** When it set out. */
  since(key: K): number | undefined {
    return this.#flights.get(key)?.at;
  }

  start(key: K, bytes: number, now: number): void {
    this.end(key);
    this.#flights.set(key, { bytes, at: now, delivered: this.#delivered });
    this.#bytes += bytes;
  }

  /** @returns false when it was not on its way */
  arrived(key: K, now: number): boolean {
    const flight = this.#flights.get(key);
    if (flight === undefined) return false;
    this.end(key);
    this.#delivered += flight.bytes;
    // Clocks may stand still for a while; nothing travels in no time.
    const took = Math.max(0.05, now - flight.at);
    const at = this.#samples % SAMPLES;
    this.#rates[at] = (this.#delivered - flight.delivered) / took;
    this.#times[at] = took;
    this.#samples += 1;
    this.#highest = highest(this.#rates, this.#samples);
    this.#lowest = lowest(this.#times, this.#samples);
    return true;
  }

  /** It will not arrive. @returns false when it was not on its way */
  end(key: K): boolean {
    const flight = this.#flights.get(key);
    if (flight === undefined) return false;
    this.#flights.delete(key);
    this.#bytes -= flight.bytes;
    return true;
  }
}

function highest(values: Float64Array, count: number): number {
  let best = 0;
  for (let at = 0; at < Math.min(count, SAMPLES); at++) best = Math.max(best, values[at] ?? 0);
  return best;
}

function lowest(values: Float64Array, count: number): number {
  let best = Number.POSITIVE_INFINITY;
  for (let at = 0; at < Math.min(count, SAMPLES); at++) best = Math.min(best, values[at] ?? best);
  return best;
}
