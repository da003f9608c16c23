interface Entry {
  readonly at: number;
  readonly order: number;
  readonly run: () => void;
}

/** Discrete events in the order of their time (milliseconds), first in first out among equals: a binary heap. */
export class VirtualTime {
  now = 0;
  readonly #heap: Entry[] = [];
  #order = 0;

  at(time: number, run: () => void): void {
    const entry: Entry = { at: Math.max(time, this.now), order: this.#order++, run };
    const heap = this.#heap;
    let at = heap.length;
    heap.push(entry);
    while (at > 0) {
      const parent = (at - 1) >> 1;
      const above = heap[parent];
      if (above === undefined || before(above, entry)) break;
      heap[at] = above;
      at = parent;
    }
    heap[at] = entry;
  }

  after(delay: number, run: () => void): void {
    this.at(this.now + delay, run);
  }

  /** Runs until `done`, until nothing is left to happen, or until `limit`. */
  run(done: () => boolean, limit: number): void {
    while (!done()) {
      const next = this.#take();
      if (next === undefined || next.at > limit) return;
      this.now = next.at;
      next.run();
    }
  }

  #take(): Entry | undefined {
    const heap = this.#heap;
    const first = heap[0];
    const last = heap.pop();
    if (first === undefined || last === undefined || heap.length === 0) return first;
    let at = 0;
    for (;;) {
      let child = 2 * at + 1;
      let below = heap[child];
      if (below === undefined) break;
      const right = heap[child + 1];
      if (right !== undefined && before(right, below)) {
        child += 1;
        below = right;
      }
      if (before(last, below)) break;
      heap[at] = below;
      at = child;
    }
    heap[at] = last;
    return first;
  }
}

function before(a: Entry, b: Entry): boolean {
  return a.at < b.at || (a.at === b.at && a.order < b.order);
}
