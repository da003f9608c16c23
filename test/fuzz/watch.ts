import { readFileSync } from 'node:fs';

/** What a door may take while it is attacked: the limits that the campaign holds daemons to. */
const MAX_GROWTH = 64 * 1024 * 1024;
/** Seconds under attack until a daemon counts as warm: at least, and of the campaign. */
const WARM_AFTER = 20;
const WARM_SHARE = 0.2;
/** Milliseconds for a good client to be connected. */
const MAX_CONNECTING = 1000;

/** Resident bytes of a process. */
export function residentBytes(pid: number): number {
  const kilobytes = /^VmRSS:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1];
  return Number(kilobytes ?? 0) * 1024;
}

/** Whether the daemon has met all there is to meet, so that its own heap has its size. */
export function isWarm(elapsed: number, seconds: number): boolean {
  return elapsed > Math.max(WARM_AFTER, seconds * WARM_SHARE);
}

/** Memory over the campaign: what it takes once warm, and how far it goes above that. */
export class MemoryWatch {
  #base: number | undefined;
  #most = 0;
  #last = 0;

  sample(bytes: number, warm: boolean): void {
    this.#last = bytes;
    if (!warm) return;
    this.#base ??= bytes;
    this.#most = Math.max(this.#most, bytes);
  }

  /** Whether the campaign was long enough to judge. */
  get judged(): boolean {
    return this.#base !== undefined;
  }

  /** Undefined when it is as it should be. */
  get wrong(): string | undefined {
    const growth = this.#most - (this.#base ?? this.#most);
    return growth > MAX_GROWTH ? `grew by ${mib(growth)} above the warm ${mib(this.#base ?? 0)}; ${mib(MAX_GROWTH)} are allowed` : undefined;
  }

  get summary(): string {
    return this.judged ? `${mib(this.#base ?? 0)} warm, ${mib(this.#most)} at most, ${mib(this.#last)} at the end` : `${mib(this.#last)} (too short to judge)`;
  }
}

/** One good client: milliseconds until it was connected, and until it had its answer. */
export interface Service {
  readonly connected: number;
  readonly served: number;
}

/**
 * Milliseconds that processes were ready to run and the machine ran others instead (Linux, Documentation/scheduler/sched-stats.rst: the second figure
 * of schedstat). A busy machine is not the door's fault.
 */
export function heldUp(pids: readonly number[]): number {
  return pids.reduce((sum, pid) => sum + Number(readFileSync(`/proc/${pid}/schedstat`, 'utf8').split(' ')[1] ?? 0) / 1e6, 0);
}

/** How long good clients waited. */
export class ServiceWatch {
  readonly #times: Service[] = [];
  readonly #late: string[] = [];

  /** @param held milliseconds that the machine held up client and door meanwhile */
  add(service: Service, held: number): void {
    this.#times.push(service);
    if (service.connected - held > MAX_CONNECTING) this.#late.push(`${service.connected.toFixed(0)} ms (${held.toFixed(0)} ms of it held up by the machine)`);
  }

  fail(why: string): void {
    this.#late.push(why);
  }

  get wrong(): string | undefined {
    if (this.#late.length > 0)
      return `${this.#late.length} good clients were not connected within ${MAX_CONNECTING} ms, or not served: ${this.#late.slice(0, 5).join('; ')}`;
    return this.#times.length === 0 ? 'no good client was served at all' : undefined;
  }

  get summary(): string {
    const spread = (times: readonly number[]): string => {
      const sorted = times.toSorted((a, b) => a - b);
      const at = (share: number): string => (sorted[Math.min(sorted.length - 1, Math.floor(share * sorted.length))] ?? 0).toFixed(0);
      return `${at(0.5)}/${at(0.99)}/${at(1)} ms`;
    };
    const [connected, served] = [this.#times.map((one) => one.connected), this.#times.map((one) => one.served)];
    return `${this.#times.length} good clients connected in ${spread(connected)} and served in ${spread(served)} (median/99 %/slowest)`;
  }
}

function mib(bytes: number): string {
  return `${(bytes / 1024 / 1024).toFixed(0)} MiB`;
}
