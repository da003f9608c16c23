/**
 * Many callers, few fsyncs: whoever asks while one is under way shares the next one.
 * A sync that began before the caller's rename may not cover it, hence never the running one.
 */
export class SharedSync {
  readonly #sync: (directory: string) => Promise<void>;
  readonly #lanes = new Map<string, Lane>();

  constructor(sync: (directory: string) => Promise<void>) {
    this.#sync = sync;
  }

  /** Resolves when everything that was renamed in `directory` before the call is durable. */
  wait(directory: string): Promise<void> {
    const lane = this.#lanes.get(directory);
    if (lane !== undefined) {
      lane.next ??= lane.running.then(
        () => this.#start(directory),
        () => this.#start(directory),
      );
      return lane.next;
    }
    return this.#start(directory);
  }

  #start(directory: string): Promise<void> {
    const lane: Lane = { running: this.#sync(directory), next: undefined };
    this.#lanes.set(directory, lane);
    const end = (): void => {
      if (lane.next === undefined && this.#lanes.get(directory) === lane) this.#lanes.delete(directory);
    };
    lane.running.then(end, end);
    return lane.running;
  }
}

interface Lane {
  readonly running: Promise<void>;
  next: Promise<void> | undefined;
}
