import type { EventBody } from '../shared/wire/ops.ts';

type ProgressEvent = EventBody<'progress'>;

/** One transfer or installation that is being watched. */
export interface Job {
  readonly key: string;
  readonly label: string;
  /** What it is part of: `customer/site/group bundle 3`. */
  readonly bundle: string;
  /** Undefined: the gateway's part, over the line. */
  readonly device: string | undefined;
  readonly phase: ProgressEvent['phase'];
  readonly total: number;
  readonly done: number;
  readonly line: number;
  readonly gateway: number;
  readonly peer: number;
  readonly own: number;
  readonly patch: number;
  readonly ended: boolean;
  readonly reason: string | undefined;
}

/** Where a bundle's bytes came from so far. */
export interface Bundle {
  readonly label: string;
  /** How many have installed something of it. */
  readonly devices: number;
  readonly line: number;
  readonly gateway: number;
  readonly peer: number;
  readonly own: number;
  readonly patch: number;
}

/** Jobs remembered at once; the ended ones go first. */
const MAX_JOBS = 5000;

/** What is known of every running transfer, from lossy progress events: pure bookkeeping, so that bars and lines say the same. */
export class ProgressBook {
  readonly #jobs = new Map<string, Job>();
  readonly #told = new Map<string, number>();

  /** Takes an event in; `step` is true when it deserves a line of its own: another tenth, another phase, or the end. */
  add(event: ProgressEvent): { job: Job; step: boolean } {
    const job = jobOf(event);
    const before = this.#jobs.get(job.key);
    this.#jobs.delete(job.key);
    this.#jobs.set(job.key, job);
    this.#forget();
    const tenth = job.total === 0 ? 10 : Math.floor((job.done / job.total) * 10);
    const told = this.#told.get(job.key);
    const step = before === undefined || before.phase !== job.phase || told === undefined || tenth > told;
    if (step) this.#told.set(job.key, tenth);
    return { job, step };
  }

  /** All that is known of the bundle that a job is part of, over its gateway and its devices. */
  bundle(job: Job): Bundle {
    const sum = { label: job.bundle, devices: 0, line: 0, gateway: 0, peer: 0, own: 0, patch: 0 };
    const devices = new Set<string>();
    for (const other of this.#jobs.values()) {
      if (other.bundle !== job.bundle) continue;
      if (other.device !== undefined && other.phase === 'done') devices.add(other.device);
      for (const source of ['line', 'gateway', 'peer', 'own', 'patch'] as const) sum[source] += other[source];
    }
    return { ...sum, devices: devices.size };
  }

  #forget(): void {
    if (this.#jobs.size <= MAX_JOBS) return;
    const victim = [...this.#jobs.values()].find((job) => job.ended)?.key ?? this.#jobs.keys().next().value;
    if (victim === undefined) return;
    this.#jobs.delete(victim);
    this.#told.delete(victim);
  }
}

function jobOf(event: ProgressEvent): Job {
  const place = `${event.customer}/${event.site}/${event.group}`;
  const who = event.device === undefined ? 'gateway' : event.device;
  const what = event.application === undefined ? `bundle ${event.sequence}` : `${event.application} ${event.version ?? ''}`.trimEnd();
  return {
    key: `${place}/${event.device ?? ''}/${event.application ?? ''}/${event.sequence}`,
    label: `${place} ${who} ${what}`,
    bundle: `${place} bundle ${event.sequence}`,
    device: event.device,
    phase: event.phase,
    total: event.total,
    done: event.done,
    line: event.sources.line,
    gateway: event.sources.gateway,
    peer: event.sources.peer,
    own: event.sources.own,
    patch: event.sources.patch,
    ended: event.phase === 'done' || event.phase === 'failed' || event.phase === 'relayed',
    reason: event.reason,
  };
}
