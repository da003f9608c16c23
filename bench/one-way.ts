export interface LineShape {
  readonly mbit: number;
  /** Milliseconds each way. */
  readonly delay: number;
  /** Share of packets lost, 0–1. */
  readonly loss: number;
}

/** Bytes a router's queue holds before it drops: 100 ms at the line's rate, at least 64 KiB. */
const queueBytes = (shape: LineShape): number => Math.max(65_536, (shape.mbit * 1e6 * 0.1) / 8);

/** One direction of a line: packets leave at the line's rate, arrive after its delay, and some never do. */
export class OneWay {
  /** IP bytes that entered the line, and the TCP payload in them, sent again or not. */
  readonly carried = { bytes: 0, payload: 0 };
  readonly #shape: LineShape;
  readonly #deliver: (packet: Buffer) => void;
  #held: { readonly at: number; readonly packet: Buffer }[] = [];
  #head = 0;
  #free = 0;
  #timer: NodeJS.Timeout | undefined;

  constructor(shape: LineShape, deliver: (packet: Buffer) => void) {
    this.#shape = shape;
    this.#deliver = deliver;
  }

  push(packet: Buffer): void {
    const { mbit, delay, loss } = this.#shape;
    const now = performance.now();
    const perByte = 8 / (mbit * 1e3);
    // Drop-tail: what would wait longer than the queue is lost, as in a router.
    if ((this.#free - now) / perByte > queueBytes(this.#shape)) return;
    this.#free = Math.max(this.#free, now) + packet.length * perByte;
    this.carried.bytes += packet.length;
    this.carried.payload += tcpPayload(packet);
    if (Math.random() < loss) return;
    this.#held.push({ at: this.#free + delay, packet });
    if (this.#timer === undefined) this.#flush();
  }

  close(): void {
    clearTimeout(this.#timer);
    this.#held = [];
  }

  #flush(): void {
    this.#timer = undefined;
    const now = performance.now();
    for (let next = this.#held[this.#head]; next !== undefined && next.at <= now + 0.3; next = this.#held[++this.#head]) this.#deliver(next.packet);
    if (this.#head > 1024) {
      this.#held.splice(0, this.#head);
      this.#head = 0;
    }
    const next = this.#held[this.#head];
    if (next !== undefined) this.#timer = setTimeout(() => this.#flush(), Math.max(1, next.at - performance.now()));
  }
}

/** Of an IPv4 packet (RFC 791, 3.1; RFC 9293, 3.1); 0 for what is no TCP. */
function tcpPayload(packet: Buffer): number {
  const header = ((packet[0] ?? 0) & 15) * 4;
  if ((packet[0] ?? 0) >> 4 !== 4 || packet[9] !== 6 || packet.length < header + 20) return 0;
  return packet.length - header - ((packet[header + 12] ?? 0) >> 4) * 4;
}
