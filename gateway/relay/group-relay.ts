import type { Clock } from '../../shared/base/clock.ts';
import { toWardcastError, WardcastError } from '../../shared/base/errors.ts';
import { type Scope, scopePath } from '../../shared/base/identity.ts';
import { PROGRESS_INTERVAL, RELAY_RETRY_MAX, RELAY_RETRY_MIN } from '../../shared/base/limits.ts';
import type { Log } from '../../shared/base/log.ts';
import type { Offer, Progress } from '../../shared/wire/messages.ts';
import type { ChunkPull } from './chunk-pull.ts';
import { type CompleteView, completeView, pulledFirst, type VerifiedView } from './complete-view.ts';
import type { ViewStore } from './view-store.ts';
import type { Views } from './views.ts';

/** What one group's relay needs from the rest of the gateway. */
export interface RelayParts {
  readonly views: Views;
  readonly viewStore: ViewStore;
  readonly chunks: ChunkPull;
  /** Whether its time windows stop the line at the moment; see LineLimit. */
  readonly line?: { readonly stopped: string | undefined; onChange(listener: () => void): () => void };
  /** Pulls and verifies the newest signed state of a group; `highest`: no bundle below this sequence. */
  readonly refresh: (scope: Scope, highest: number, signal: AbortSignal) => Promise<VerifiedView>;
  /** See Retention. */
  readonly retention: {
    admit(group: string, chunks: ReadonlyMap<string, number>): Promise<Map<string, number>>;
    retire(view: CompleteView): Promise<void>;
    run(): Promise<void>;
  };
  /** The group's view is complete (again): its devices hear of it. */
  readonly offered: (view: CompleteView) => void;
  readonly progress: (progress: Progress) => void;
  readonly clock: Clock;
  readonly random: () => number;
  readonly log: Log;
}

/**
 * Brings one group's view up to what the provider offered: signed state → missing chunks → complete → offer on the LAN.
 * Level-triggered: whatever breaks, the next round compares again and asks only for what is still missing.
 */
export class GroupRelay {
  readonly #scope: Scope;
  readonly #parts: RelayParts;
  readonly #log: Log;
  readonly #closing = new AbortController();
  #wanted: Offer | undefined;
  #running: Promise<void> | undefined;
  /** Cuts short what a newer offer makes pointless: a pause, or the pulling of an older bundle. */
  #hurry = new AbortController();
  #phase: 'idle' | 'verifying' | 'pulling' | 'pausing' = 'idle';
  #gathering = 0;

  constructor(scope: Scope, parts: RelayParts) {
    this.#scope = scope;
    this.#parts = parts;
    this.#log = parts.log.child({ group: scope.group });
  }

  /** The provider offers this. Returns at once. */
  offer(offer: Offer): void {
    if (this.#closing.signal.aborted) return;
    this.#wanted = offer;
    const served = this.#current();
    if (served !== undefined && isOlder(offer, served)) {
      this.#log.warn('relay.offer-older', {
        offered: offer.timestampVersion,
        held: served.timestampVersion,
        remedy: 'The provider offers less than it did before: if it was restored from a backup, raise its versions; otherwise somebody replays old offers.',
      });
      return;
    }
    if (served !== undefined && satisfies(served, offer)) {
      // Said again although nothing is new: a device drifted, and hears that its bundle still stands.
      this.#parts.offered(served);
      this.#report(served, 'relayed', 0, 0);
      return;
    }
    if (this.#phase === 'pausing' || (this.#phase === 'pulling' && offer.timestampVersion > this.#gathering)) this.#hurry.abort();
    this.#running ??= this.#run().finally(() => {
      this.#running = undefined;
    });
  }

  async close(): Promise<void> {
    this.#closing.abort(new WardcastError('ABORTED', 'The gateway is stopping'));
    await this.#running;
  }

  async #run(): Promise<void> {
    let failures = 0;
    while (!this.#closing.signal.aborted && !this.#satisfied()) {
      this.#hurry = new AbortController();
      try {
        await this.#round(AbortSignal.any([this.#closing.signal, this.#hurry.signal]));
        // The provider offered more than it can show yet: ask again, but not at once.
        failures = this.#satisfied() ? 0 : failures + 1;
      } catch (error) {
        if (this.#closing.signal.aborted) return;
        if (this.#hurry.signal.aborted) continue;
        failures += 1;
        this.#failed(error, failures);
      }
      if (failures > 0) await this.#pause(failures);
    }
    this.#phase = 'idle';
  }

  async #round(signal: AbortSignal): Promise<void> {
    const { views, viewStore, chunks, retention, refresh } = this.#parts;
    const { group } = this.#scope;
    this.#phase = 'verifying';
    const asked = this.#wanted;
    const verified = await refresh(this.#scope, this.#current()?.sequence ?? 0, this.#closing.signal);
    // Offered while this was on its way: it may say whom to keep out, and must not wait until all content is here.
    if (this.#wanted !== asked && (this.#wanted?.timestampVersion ?? 0) > verified.timestampVersion) return;
    this.#gathering = verified.timestampVersion;
    this.#phase = 'pulling';
    if ((this.#wanted?.timestampVersion ?? 0) > verified.timestampVersion) this.#log.info('relay.overtaken', { verified: verified.timestampVersion });
    const missing = await retention.admit(group, pulledFirst(verified));
    const total = [...missing.values()].reduce((sum, size) => sum + size, 0);
    this.#log.info('relay.started', { scope: scopePath(this.#scope), sequence: verified.bundle.sequence, chunks: missing.size, bytes: total });
    await this.#pull(chunks, missing, verified.bundle.sequence, total, signal);
    const complete = completeView(verified);
    const before = views.served(group);
    const next = views.successor(complete);
    await viewStore.save(next);
    views.set(group, next);
    views.gather(group, undefined);
    this.#log.info('relay.complete', { sequence: complete.sequence, timestampVersion: complete.timestampVersion, chunks: complete.chunks.size, pulled: total });
    this.#parts.offered(complete);
    this.#report(complete, 'relayed', total, total);
    if (before?.previous !== undefined && before.previous !== next.previous) await retention.retire(before.previous);
    await retention.run();
  }

  async #pull(chunks: ChunkPull, missing: ReadonlyMap<string, number>, sequence: number, total: number, signal: AbortSignal): Promise<void> {
    if (missing.size === 0) return;
    let reported = Number.NEGATIVE_INFINITY;
    let missed = total;
    const report = (): void => this.#report({ sequence }, 'relaying', total, total - missed, this.#parts.line?.stopped);
    const onLeft = (left: number): void => {
      missed = left;
      const now = this.#parts.clock.monotonic();
      if (now - reported < PROGRESS_INTERVAL) return;
      reported = now;
      report();
    };
    onLeft(total);
    const unhear = this.#parts.line?.onChange(report);
    try {
      await chunks.obtain(this.#scope.group, missing, { signal, onLeft });
    } finally {
      unhear?.();
    }
  }

  #failed(error: unknown, failures: number): void {
    const failure = toWardcastError(error, 'INTERNAL', 'The bundle could not be relayed');
    this.#log.error('relay.failed', { scope: scopePath(this.#scope), failures, error: failure });
    this.#report({ sequence: this.#wanted?.sequence ?? 0 }, 'failed', 0, 0, `${failure.code}: ${failure.message}`.slice(0, 500));
  }

  async #pause(failures: number): Promise<void> {
    this.#phase = 'pausing';
    const most = Math.min(RELAY_RETRY_MAX, RELAY_RETRY_MIN * 2 ** Math.min(failures, 20));
    const signal = AbortSignal.any([this.#closing.signal, this.#hurry.signal]);
    // An abort only ends the pause early; the loop's condition decides what follows.
    await this.#parts.clock.sleep(RELAY_RETRY_MIN / 2 + this.#parts.random() * most, { signal }).catch(() => undefined);
  }

  #report({ sequence }: { readonly sequence: number }, phase: 'relaying' | 'relayed' | 'failed', total: number, done: number, reason?: string): void {
    const sources = { line: done, gateway: 0, peer: 0, own: 0, patch: 0 };
    this.#parts.progress({ group: this.#scope.group, sequence, phase, total, done, sources, ...(reason === undefined ? {} : { reason }) });
  }

  #current(): CompleteView | undefined {
    return this.#parts.views.served(this.#scope.group)?.current;
  }

  #satisfied(): boolean {
    const current = this.#current();
    return this.#wanted === undefined || (current !== undefined && satisfies(current, this.#wanted));
  }
}

function satisfies(view: CompleteView, offer: Offer): boolean {
  return view.timestampVersion >= offer.timestampVersion && view.sequence >= offer.sequence;
}

function isOlder(offer: Offer, view: CompleteView): boolean {
  return offer.timestampVersion < view.timestampVersion || offer.sequence < view.sequence;
}
