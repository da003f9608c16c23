import type { ReadPace } from './read-pace.ts';

/**
 * One turn of the event loop over all wires of a process: everything that came is read first, then decided about once, then what is to be said leaves in
 * one write per wire, and only then the thread may nap. Deciding and writing after each frame would cost more than the frames.
 */
export class Turn {
  readonly #pace: ReadPace;
  #decisions = new Set<() => void>();
  #writes = new Set<() => void>();
  #scheduled = false;
  #read = 0;

  constructor(pace: ReadPace) {
    this.#pace = pace;
  }

  /** So many bytes of chunks came. */
  came(bytes: number): void {
    this.#read += bytes;
    this.#schedule();
  }

  /** Once at the end of this turn, however often it is called with the same function. */
  decide(work: () => void): void {
    this.#decisions.add(work);
    this.#schedule();
  }

  /** After all decisions, once. */
  write(work: () => void): void {
    this.#writes.add(work);
    this.#schedule();
  }

  #schedule(): void {
    if (this.#scheduled) return;
    this.#scheduled = true;
    setImmediate(this.#end);
  }

  readonly #end = (): void => {
    const decisions = this.#decisions;
    this.#decisions = new Set();
    for (const decide of decisions) decide();
    const writes = this.#writes;
    this.#writes = new Set();
    for (const write of writes) write();
    const read = this.#read;
    this.#read = 0;
    this.#scheduled = false;
    // What a decision left to decide waits for nothing but this.
    if (this.#decisions.size > 0 || this.#writes.size > 0) this.#schedule();
    else if (read > 0) this.#pace.nap(read);
  };
}
