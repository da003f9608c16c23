import type { Clock } from '../shared/base/clock.ts';
import { Turns } from '../shared/base/each.ts';
import { INSTALL_RETRY_MAX, INSTALL_RETRY_MIN } from '../shared/base/limits.ts';
import type { Log } from '../shared/base/log.ts';
import type { GroupView } from '../shared/trust/client.ts';
import type { MetadataSource } from '../shared/trust/metadata-source.ts';
import type { Acceptor } from './accept/verify.ts';

export interface WantedOptions {
  readonly acceptor: Pick<Acceptor, 'refresh' | 'view'>;
  /** Acts on what is verified: one call at a time. */
  readonly act: (view: GroupView) => Promise<void>;
  readonly clock: Clock;
  readonly log: Log;
  readonly signal: AbortSignal;
  readonly random?: () => number;
}

interface Hint {
  readonly sequence: number;
  readonly timestampVersion: number;
}

/** Follows offers: an offer is a hint that makes this device look, and what it finds signed is what counts. Bursts become one look. */
export class Wanted {
  readonly #o: WantedOptions;
  readonly #acting = new Turns(1);
  #next: { readonly source: MetadataSource; readonly hint: Hint; readonly lost: AbortSignal } | undefined;
  #running: Promise<void> | undefined;
  #news = new AbortController();

  constructor(options: WantedOptions) {
    this.#o = options;
  }

  /** The last verified bundle against what runs now. */
  async reconsider(): Promise<void> {
    const { view } = this.#o.acceptor;
    if (view !== undefined) await this.#acting.run(() => this.#o.act(view));
  }

  /** @param lost aborts with the connection that `source` rests on */
  offered(source: MetadataSource, hint: Hint, lost: AbortSignal): void {
    this.#next = { source, hint, lost };
    this.#news.abort();
    this.#begin();
  }

  /** What was refused may be right now: no need to wait any longer. */
  hurry(): void {
    this.#news.abort();
  }

  async idle(): Promise<void> {
    await this.#running;
  }

  #begin(): void {
    this.#running ??= this.#follow().finally(() => {
      this.#running = undefined;
      // One that came in the very moment of ending.
      if (this.#next !== undefined && !this.#next.lost.aborted) this.#begin();
    });
  }

  async #follow(): Promise<void> {
    const { acceptor, log, clock, random = Math.random } = this.#o;
    let attempt = 0;
    for (;;) {
      const next = this.#next;
      if (next === undefined || next.lost.aborted || this.#o.signal.aborted) return;
      this.#news = new AbortController();
      try {
        if (!isKnown(acceptor.view, next.hint)) await acceptor.refresh(next.source, next.lost);
        await this.reconsider();
        if (this.#next === next) this.#next = undefined;
        attempt = 0;
      } catch (error) {
        if (next.lost.aborted) continue;
        if (this.#next !== next) continue;
        // Refused metadata may be a gateway in the middle of an update, or a lie: either way ask again later, ever more rarely.
        const wait = Math.min(INSTALL_RETRY_MAX, INSTALL_RETRY_MIN * 2 ** Math.min(16, attempt++)) * (0.5 + random() / 2);
        log.warn('offer.refused', { sequence: next.hint.sequence, wait: Math.round(wait), error });
        const signal = AbortSignal.any([next.lost, this.#news.signal]);
        await clock.sleep(wait, { signal }).catch(() => undefined);
      }
    }
  }
}

/** Nothing new is offered, so nothing needs to be fetched; what runs is compared all the same. */
function isKnown(view: GroupView | undefined, { sequence, timestampVersion }: Hint): boolean {
  return view !== undefined && view.bundle.sequence === sequence && view.timestampVersion === timestampVersion;
}
