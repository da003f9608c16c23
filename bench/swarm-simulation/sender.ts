import { UPLOAD_ALLOWANCE, UPLOAD_BYTES, UPLOAD_MIN, UPLOAD_STALL, UPLOAD_UNSENT } from '../../shared/base/limits.ts';
import type { Upload } from '../../shared/net/swarm/upload-queue.ts';
import { Window } from '../../shared/net/swarm/window.ts';
import type { End } from './connection.ts';
import type { VirtualTime } from './virtual-time.ts';

/** Bytes that a kernel takes from one connection before they leave. */
const KERNEL_BUFFER = 512 * 1024;

interface Outgoing {
  readonly upload: Upload<End>;
  stalled: boolean;
}

/** The rules of shared/net/swarm/uploads.ts in virtual time. */
export class Sender {
  readonly #time: VirtualTime;
  readonly #next: (may: (to: End) => boolean) => Upload<End> | undefined;
  readonly #window = new Window<Outgoing>({ minimum: UPLOAD_MIN, maximum: UPLOAD_BYTES, allowance: UPLOAD_ALLOWANCE });
  readonly #outgoing = new Map<End, Map<number, Outgoing>>();

  constructor(time: VirtualTime, next: (may: (to: End) => boolean) => Upload<End> | undefined) {
    this.#time = time;
    this.#next = next;
  }

  get rate(): number {
    return this.#window.rate;
  }

  pump(): void {
    const { now } = this.#time;
    this.#passOverStalled(now);
    while (this.#window.admits(1)) {
      const upload = this.#next((to) => this.#may(to));
      if (upload === undefined) return;
      const outgoing: Outgoing = { upload, stalled: false };
      this.#window.start(outgoing, upload.bytes, now);
      const mine = this.#outgoing.get(upload.to) ?? new Map<number, Outgoing>();
      this.#outgoing.set(upload.to, mine.set(upload.index, outgoing));
      upload.to.chunk(upload.index, upload.bytes);
    }
  }

  done(from: End, index: number, arrived: boolean): void {
    const mine = this.#outgoing.get(from);
    const outgoing = mine?.get(index);
    if (mine === undefined || outgoing === undefined) return;
    mine.delete(index);
    if (mine.size === 0) this.#outgoing.delete(from);
    if (arrived) this.#window.arrived(outgoing, this.#time.now);
    else this.#window.end(outgoing);
    this.pump();
  }

  drop(end: End): void {
    for (const outgoing of this.#outgoing.get(end)?.values() ?? []) this.#window.end(outgoing);
    this.#outgoing.delete(end);
    this.pump();
  }

  #may(to: End): boolean {
    if (to.closed || to.unsent > UPLOAD_UNSENT + KERNEL_BUFFER) return false;
    for (const { stalled } of this.#outgoing.get(to)?.values() ?? []) if (stalled) return false;
    return true;
  }

  #passOverStalled(now: number): void {
    const patience = Math.max(UPLOAD_STALL, 4 * this.#window.latency);
    for (const outgoing of this.#window.keys()) {
      if (now - (this.#window.since(outgoing) ?? now) < patience) return;
      outgoing.stalled = true;
      this.#window.end(outgoing);
    }
  }
}
