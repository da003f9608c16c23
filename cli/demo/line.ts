import { type AddressInfo, connect, createServer, type Server, type Socket } from 'node:net';

export interface LineOptions {
  /** Where the line leads to. */
  readonly target: { readonly host: string; readonly port: number };
  /** Where its near end listens; 127.0.0.1 and any free port by default. */
  readonly listen?: { readonly host?: string; readonly port?: number };
  /** Bytes per second, each way, shared by all connections; unlimited by default. */
  readonly rate?: number;
  /** Milliseconds each way. */
  readonly delay?: number;
}

export interface LineTraffic {
  /** Bytes delivered from the far end (the target) to the near end, and the other way. */
  readonly down: number;
  readonly up: number;
  /** Bytes that the far end put on the line, whether they came through or were lost when it was cut. */
  readonly sent: number;
}

/** Bytes a line holds beyond what is under way on it: the router's buffer. */
const ROUTER_BUFFER = 256 * 1024;

/**
 * A line into a site, for demonstrations, tests and measurements: a TCP relay in this process with a rate, a delay and a plug that can be
 * pulled. The bytes of all connections share the rate, like on a real line; what is under way when the plug is pulled is lost.
 */
export class Line {
  readonly #options: LineOptions;
  readonly #server: Server;
  readonly #connections = new Set<() => void>();
  readonly #down: Direction;
  readonly #up: Direction;
  #isCut = false;

  private constructor(options: LineOptions) {
    this.#options = options;
    this.#down = new Direction(options.rate ?? Number.POSITIVE_INFINITY, options.delay ?? 0);
    this.#up = new Direction(options.rate ?? Number.POSITIVE_INFINITY, options.delay ?? 0);
    this.#server = createServer({ allowHalfOpen: true, noDelay: true }, (socket) => this.#connect(socket));
  }

  static async open(options: LineOptions): Promise<Line> {
    const line = new Line(options);
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    line.#server.once('error', reject);
    line.#server.listen(options.listen?.port ?? 0, options.listen?.host ?? '127.0.0.1', resolve);
    await promise;
    return line;
  }

  /** Of the near end. */
  get port(): number {
    const address: AddressInfo | string | null = this.#server.address();
    return typeof address === 'object' && address !== null ? address.port : 0;
  }

  get traffic(): LineTraffic {
    return { down: this.#down.delivered, up: this.#up.delivered, sent: this.#down.entered };
  }

  get isCut(): boolean {
    return this.#isCut;
  }

  /** Pulls the plug: every connection breaks, new ones fail, until `restore`. */
  cut(): void {
    this.#isCut = true;
    for (const destroy of [...this.#connections]) destroy();
  }

  restore(): void {
    this.#isCut = false;
  }

  /** Resolves when so many bytes in all came down, for cutting in the middle of something. */
  cameDown(bytes: number): Promise<void> {
    return this.#down.reached(bytes);
  }

  async close(): Promise<void> {
    this.cut();
    await new Promise<void>((resolve) => this.#server.close(() => resolve()));
  }

  #connect(near: Socket): void {
    if (this.#isCut) {
      near.on('error', () => undefined);
      near.resetAndDestroy();
      return;
    }
    const far = connect({ ...this.#options.target, allowHalfOpen: true, noDelay: true });
    const stop = new AbortController();
    const destroy = (): void => {
      stop.abort();
      near.resetAndDestroy();
      far.resetAndDestroy();
      this.#connections.delete(destroy);
    };
    this.#connections.add(destroy);
    for (const socket of [near, far]) {
      // One side's end by force is the other side's; the relay itself has nothing to report.
      socket.on('error', destroy);
      socket.on('close', () => {
        if (near.closed && far.closed) this.#connections.delete(destroy);
      });
    }
    this.#up.carry(near, far, stop.signal);
    this.#down.carry(far, near, stop.signal);
  }
}

/** One way of the line. */
class Direction {
  readonly #rate: number;
  readonly #delay: number;
  /** When the line has room for the next byte, in performance.now() milliseconds. */
  #free = 0;
  #waiting: { bytes: number; resolve: () => void }[] = [];
  delivered = 0;
  entered = 0;

  constructor(rate: number, delay: number) {
    this.#rate = rate;
    this.#delay = delay;
  }

  reached(bytes: number): Promise<void> {
    if (this.delivered >= bytes) return Promise.resolve();
    return new Promise((resolve) => this.#waiting.push({ bytes, resolve }));
  }

  carry(from: Socket, to: Socket, signal: AbortSignal): void {
    const queue: { at: number; bytes: Buffer | undefined }[] = [];
    const most = ROUTER_BUFFER + (Number.isFinite(this.#rate) ? (this.#rate * this.#delay) / 1000 : 16 * ROUTER_BUFFER);
    let held = 0;
    let timer: NodeJS.Timeout | undefined;
    let draining = false;
    const deliver = (): void => {
      timer = undefined;
      while (!signal.aborted && !draining) {
        const [next] = queue;
        if (next === undefined) break;
        const wait = next.at - performance.now();
        if (wait > 0.5) {
          timer = setTimeout(deliver, wait);
          break;
        }
        queue.shift();
        if (next.bytes === undefined) {
          to.end();
          break;
        }
        held -= next.bytes.length;
        if (!to.write(next.bytes)) {
          draining = true;
          to.once('drain', () => {
            draining = false;
            deliver();
          });
        }
        this.#count(next.bytes.length);
        if (held < most && from.isPaused()) from.resume();
      }
    };
    const enqueue = (bytes: Buffer | undefined): void => {
      const now = performance.now();
      this.#free = Math.max(now, this.#free) + ((bytes?.length ?? 0) / this.#rate) * 1000;
      queue.push({ at: this.#free + this.#delay, bytes });
      if (timer === undefined && !draining) deliver();
    };
    from.on('data', (bytes: Buffer) => {
      held += bytes.length;
      this.entered += bytes.length;
      if (held >= most) from.pause();
      enqueue(bytes);
    });
    from.on('end', () => enqueue(undefined));
    signal.addEventListener('abort', () => clearTimeout(timer), { once: true });
  }

  #count(bytes: number): void {
    this.delivered += bytes;
    const [met, waiting] = [this.#waiting.filter((entry) => entry.bytes <= this.delivered), this.#waiting.filter((entry) => entry.bytes > this.delivered)];
    this.#waiting = waiting;
    for (const { resolve } of met) resolve();
  }
}
