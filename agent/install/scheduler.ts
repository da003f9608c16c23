import type { Clock } from '../../shared/base/clock.ts';
import { WardcastError } from '../../shared/base/errors.ts';
import { INSTALL_RETRY_MAX, INSTALL_RETRY_MIN } from '../../shared/base/limits.ts';
import type { Log } from '../../shared/base/log.ts';
import type { Decision } from '../../shared/bundle/decide.ts';
import type { Installer } from './installer.ts';
import type { Journal } from './journal.ts';
import { isPassing } from './passing.ts';

export interface SchedulerOptions {
  readonly installer: Pick<Installer, 'install' | 'refuse' | 'settle' | 'unsettled'>;
  readonly journal: Pick<Journal, 'verdict'>;
  readonly clock: Clock;
  readonly log: Log;
  readonly signal: AbortSignal;
  /** 0 ≤ x < 1, for the jitter of retries. */
  readonly random?: () => number;
  /** Told after every outcome: what runs may have changed. */
  readonly onSettled?: (application: string) => void;
}

type Wish = { readonly kind: 'settle' } | { readonly kind: 'decided'; readonly decision: Exclude<Decision, { action: 'nothing' }>; readonly sequence: number };

/** Works on one wish per application at a time, the newest; applications do not wait for each other. */
export class Scheduler {
  readonly #o: SchedulerOptions;
  readonly #wishes = new Map<string, Wish>();
  readonly #loops = new Map<string, Promise<void>>();
  #wake = new AbortController();

  constructor(options: SchedulerOptions) {
    this.#o = options;
  }

  /** Replaces what is wished by the decisions about a bundle. */
  async plan(decisions: readonly Decision[], sequence: number): Promise<void> {
    const wishes = new Map<string, Wish>();
    for (const application of await this.#o.installer.unsettled()) wishes.set(application, { kind: 'settle' });
    for (const decision of decisions) {
      if (decision.action === 'nothing') continue;
      if (await this.#isSettled(decision, sequence)) continue;
      wishes.set(decision.application, this.#same(decision, sequence) ?? { kind: 'decided', decision, sequence });
    }
    this.#wishes.clear();
    for (const [application, wish] of wishes) this.#wishes.set(application, wish);
    for (const application of wishes.keys()) this.#begin(application);
  }

  /** Something changed for the better (a connection came up): whoever waits to try again does so now. */
  wake(): void {
    this.#wake.abort();
    this.#wake = new AbortController();
  }

  get busy(): boolean {
    return this.#loops.size > 0;
  }

  /** Resolves when nothing is being worked on or waited for. */
  async idle(): Promise<void> {
    while (this.#loops.size > 0) await Promise.all(this.#loops.values());
  }

  /** The wish of before when it was the same: what is being worked on must not be done a second time. */
  #same(decision: Exclude<Decision, { action: 'nothing' }>, sequence: number): Wish | undefined {
    const before = this.#wishes.get(decision.application);
    if (before?.kind !== 'decided' || before.sequence !== sequence) return undefined;
    return before.decision.action === decision.action && before.decision.manifest === decision.manifest ? before : undefined;
  }

  /** A failure or refusal is said once per release and bundle; then it rests until the next bundle. */
  async #isSettled(decision: Exclude<Decision, { action: 'nothing' }>, sequence: number): Promise<boolean> {
    const verdict = await this.#o.journal.verdict(decision.manifest);
    if (verdict === undefined || !verdict.settled || verdict.sequence !== sequence) return false;
    // A release that went bad is refused from then on; that it went bad was said already.
    if (decision.action === 'refuse') return verdict.bad || (verdict.result === 'refused' && verdict.code === decision.code);
    // A refusal says nothing about trying: what ran may have changed since.
    return verdict.result !== 'refused';
  }

  #begin(application: string): void {
    if (this.#loops.has(application)) {
      this.wake();
      return;
    }
    const loop = this.#loop(application).finally(() => {
      this.#loops.delete(application);
      if (this.#wishes.has(application) && !this.#o.signal.aborted) this.#begin(application);
    });
    this.#loops.set(application, loop);
  }

  async #loop(application: string): Promise<void> {
    const { clock, log, signal, random = Math.random } = this.#o;
    let attempt = 0;
    for (;;) {
      const wish = this.#wishes.get(application);
      if (wish === undefined || signal.aborted) return;
      try {
        await this.#work(application, wish);
        // A newer wish that came meanwhile stays.
        if (this.#wishes.get(application) === wish) this.#wishes.delete(application);
        attempt = 0;
        this.#o.onSettled?.(application);
      } catch (error) {
        if (signal.aborted) return;
        if (this.#wishes.get(application) !== wish) continue;
        const wait = Math.min(INSTALL_RETRY_MAX, INSTALL_RETRY_MIN * 2 ** attempt) * (0.5 + random() / 2);
        attempt = Math.min(attempt + 1, 16);
        if (isPassing(error)) log.info('install.retry-later', { application, wait: Math.round(wait), error });
        else log.error('install.unexpected', { application, wait: Math.round(wait), error });
        await this.#pause(clock, wait);
      }
    }
  }

  async #work(application: string, wish: Wish): Promise<void> {
    const { installer, signal } = this.#o;
    if (wish.kind === 'settle') return await installer.settle(application, signal);
    const { decision, sequence } = wish;
    if (decision.action === 'refuse') {
      const { version, manifest } = decision;
      return await installer.refuse({ application, version, manifest, sequence }, new WardcastError(decision.code, decision.message));
    }
    const stillWanted = (): boolean => {
      const now = this.#wishes.get(application);
      return now?.kind === 'decided' && now.decision.action === 'install' && now.decision.manifest === decision.manifest;
    };
    await installer.install(decision.release, sequence, { stillWanted, signal, allowDowngrade: decision.allowDowngrade ?? false });
  }

  async #pause(clock: Clock, wait: number): Promise<void> {
    const signal = AbortSignal.any([this.#o.signal, this.#wake.signal]);
    try {
      await clock.sleep(wait, { signal });
    } catch (error) {
      if (!signal.aborted) throw error;
    }
  }
}
