import { READ_NAP_MAX, READ_NAP_MIN, READ_TURN_BYTES } from '../../base/limits.ts';

/** Share of the newest turn in the estimate of what comes per millisecond. */
const NEWEST = 0.25;
/** Milliseconds after which an old estimate says nothing. */
const STALE = 250;

/**
 * Reads seldom and much. On a link slower than the processor every packet wakes the process by itself, and waking costs more than decrypting, hashing and
 * storing what it brings. While chunks come in, the thread therefore naps between two turns of its event loop, so long that about READ_TURN_BYTES have come
 * on all wires together; the kernel receives meanwhile. Network cards do the same to processors (interrupt coalescing, ethtool(8) -C rx-usecs). On
 * links so fast that much comes in a turn anyway, and when no chunks come, nobody naps.
 */
export class ReadPace {
  readonly #cell = new Int32Array(new SharedArrayBuffer(4));
  /** Bytes per millisecond. */
  #rate = 0;
  #last = 0;

  /** At the end of a turn in which so many bytes of chunks came. */
  nap(bytes: number): void {
    const now = performance.now();
    const passed = Math.max(0.01, now - this.#last);
    this.#rate = passed > STALE ? bytes / STALE : this.#rate + NEWEST * (bytes / passed - this.#rate);
    this.#last = now;
    const nap = Math.min(READ_NAP_MAX, READ_TURN_BYTES / Math.max(this.#rate, 1));
    if (nap >= READ_NAP_MIN) Atomics.wait(this.#cell, 0, 0, nap);
  }
}
