/** Time as a dependency, so that tests drive it by hand. */
export interface Clock {
  /** Wall time in milliseconds since 1970. */
  now(): number;
  /** Milliseconds that never go backwards; only differences mean something. */
  monotonic(): number;
  /** Resolves after `ms`; rejects with the signal's reason when aborted. */
  sleep(ms: number, options?: { signal?: AbortSignal | undefined }): Promise<void>;
  /** For a clock that only knows how early it can be at most (`now`): how late it can be, in milliseconds since 1970. Absent: `now` is the time. */
  latest?(): number;
}

/** Between which instants the time is, in milliseconds since 1970. */
export interface Moment {
  readonly now: number;
  /** Absent: the same as `now`. Infinity: nobody knows. */
  readonly latest?: number | undefined;
}

export function momentOf(clock: Clock): Moment {
  return { now: clock.now(), latest: clock.latest?.() };
}

export const systemClock: Clock = {
  now: () => Date.now(),
  monotonic: () => performance.now(),
  sleep(ms, { signal } = {}) {
    return new Promise((resolve, reject) => {
      if (signal?.aborted) {
        reject(signal.reason);
        return;
      }
      const onAbort = (): void => {
        clearTimeout(timer);
        reject(signal?.reason);
      };
      const timer = setTimeout(() => {
        signal?.removeEventListener('abort', onAbort);
        resolve();
      }, ms);
      signal?.addEventListener('abort', onAbort, { once: true });
    });
  },
};

/** RFC 3339 in UTC with milliseconds. */
export function timestamp(clock: Clock): string {
  const now = clock.now();
  // Thousands are asked for within a millisecond when a log is written, and each takes some microseconds.
  if (printed.now !== now) printed = { now, text: new Date(now).toISOString() };
  return printed.text;
}

let printed = { now: Number.NaN, text: '' };
