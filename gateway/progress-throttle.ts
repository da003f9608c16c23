import type { Clock } from '../shared/base/clock.ts';
import { MAX_PROGRESS_STREAMS, PROGRESS_INTERVAL } from '../shared/base/limits.ts';
import type { Progress } from '../shared/wire/messages.ts';

/** Lets a change of phase pass at once and everything between only now and then: the line is for content. */
export class ProgressThrottle {
  readonly #clock: Clock;
  readonly #last = new Map<string, { at: number; phase: Progress['phase'] }>();

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  passes({ group, device, application, phase, sequence }: Progress): boolean {
    const key = [group, device ?? '', application ?? '', sequence].join('/');
    const before = this.#last.get(key);
    const now = this.#clock.monotonic();
    if (before !== undefined && before.phase === phase && now - before.at < PROGRESS_INTERVAL) return false;
    this.#last.delete(key);
    this.#last.set(key, { at: now, phase });
    const oldest = this.#last.keys().next().value;
    if (this.#last.size > MAX_PROGRESS_STREAMS && oldest !== undefined) this.#last.delete(oldest);
    return true;
  }
}
