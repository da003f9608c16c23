import type { Clock } from '../shared/base/clock.ts';
import type { DeviceIdentity } from '../shared/base/identity.ts';
import { PROGRESS_INTERVAL } from '../shared/base/limits.ts';
import type { Progress } from '../shared/wire/messages.ts';
import type { InstallProgress } from './install/installer.ts';

/** Turns what the installer tells into progress messages, at most one per interval, application and phase. Lossy, for people. */
export class ProgressTeller {
  readonly #device: DeviceIdentity;
  readonly #clock: Clock;
  readonly #send: (progress: Progress) => void;
  readonly #last = new Map<string, { readonly phase: string; readonly at: number; readonly total: number }>();

  constructor(device: DeviceIdentity, clock: Clock, send: (progress: Progress) => void) {
    this.#device = device;
    this.#clock = clock;
    this.#send = send;
  }

  tell(now: InstallProgress): void {
    const last = this.#last.get(now.application);
    const at = this.#clock.monotonic();
    if (last?.phase === now.phase && at - last.at < PROGRESS_INTERVAL) return;
    const { gateway, peer, own, patch } = now.bytes;
    // After staging nothing is missing any more: the figures of the last fetch stay.
    const total = now.phase === 'fetching' ? now.missing : Math.max(now.missing, last?.total ?? 0);
    this.#last.set(now.application, { phase: now.phase, at, total });
    this.#send({
      group: this.#device.group,
      device: this.#device.device,
      application: now.application,
      version: now.version,
      sequence: now.sequence,
      phase: now.phase,
      total,
      done: now.phase === 'fetching' || now.phase === 'failed' ? Math.min(total, gateway + peer + own + patch) : total,
      sources: { line: 0, gateway, peer, own, patch },
      ...(now.reason === undefined ? {} : { reason: now.reason }),
    });
  }
}
