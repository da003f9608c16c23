import { READ_PACE_FULL, READ_PACE_MAX, READ_PACE_MIN, READ_PACE_THIN } from '../../base/limits.ts';

/** Something that can stop and go on reading. */
export interface Paced {
  pauseReading(): void;
  resumeReading(): void;
}

/**
 * Reads seldom and much: after a turn of the event loop in which little was read, those that were read rest for some milliseconds, together. On a link
 * slower than the processor every packet would wake the process otherwise, at 60 µs each: several times what decrypting, hashing and
 * storing its bytes costs. Network cards do the same to processors (interrupt coalescing, ethtool(8) -C rx-usecs). The pause follows how much comes meanwhile.
 */
export class ReadPace {
  /** Read in this turn of the event loop, and how much of each. */
  #turn = new Map<Paced, number>();
  #resting = new Set<Paced>();
  #ended = false;
  #timer: NodeJS.Timeout | undefined;
  #pause = READ_PACE_MIN;

  /** So many bytes were read. */
  read(from: Paced, bytes: number): void {
    if (this.#turn.size === 0 && !this.#ended) {
      this.#ended = true;
      setImmediate(this.#endTurn);
    }
    this.#turn.set(from, (this.#turn.get(from) ?? 0) + bytes);
  }

  /** It is gone. */
  forget(from: Paced): void {
    this.#turn.delete(from);
    this.#resting.delete(from);
  }

  readonly #endTurn = (): void => {
    this.#ended = false;
    const turn = this.#turn;
    this.#turn = new Map();
    for (const [from, bytes] of turn) {
      // It fills the buffer: there is no waiting for more.
      if (bytes >= READ_PACE_FULL) continue;
      from.pauseReading();
      this.#resting.add(from);
    }
    if (this.#resting.size > 0) this.#timer ??= setTimeout(this.#resume, this.#pause);
    let sum = 0;
    for (const bytes of turn.values()) sum += bytes;
    const mean = turn.size === 0 ? 0 : sum / turn.size;
    if (mean < READ_PACE_THIN) this.#pause = Math.min(READ_PACE_MAX, this.#pause + 1);
    else this.#pause = Math.max(READ_PACE_MIN, this.#pause / 2);
  };

  readonly #resume = (): void => {
    this.#timer = undefined;
    const resting = this.#resting;
    this.#resting = new Set();
    for (const one of resting) one.resumeReading();
  };
}
