import { type Scope, scopePath } from '../../shared/base/identity.ts';
import type { Log } from '../../shared/base/log.ts';
import { type GroupView, loadGroupView, refreshGroupView } from '../../shared/trust/client.ts';
import type { MetadataSource } from '../../shared/trust/metadata-source.ts';
import { notSignedBefore } from '../../shared/trust/signing-time.ts';
import type { Rows } from '../install/journal.ts';

export interface AcceptorOptions {
  /** Trusted metadata, kept between runs. */
  readonly directory: string;
  readonly factoryRoot: Buffer;
  readonly scope: Scope;
  /** The highest sequence ever accepted by scope, so that losing the directory does not open the door to an old bundle. */
  readonly highest: Rows<number>;
  /** By whose time expiry is judged, and who is told what signatures show of it. */
  readonly timekeeper: { readonly time: { guess(): number }; evidence(at: number | undefined): void };
  /** Told of every view that becomes the one believed in, before anything is done about it. */
  readonly believed?: (view: GroupView) => void;
  readonly log: Log;
}

/** Turns what a gateway says into what this device believes: nothing that both signature chains do not agree on, for its own group, and never an older bundle. */
export class Acceptor {
  readonly #o: AcceptorOptions;
  /** Each group counts its own bundles: a device that moved must not hold the old group's number against the new one. */
  readonly #key: string;
  #view: GroupView | undefined;

  constructor(options: AcceptorOptions) {
    this.#o = options;
    this.#key = `sequence/${scopePath(options.scope)}`;
  }

  /** The newest bundle that was verified. */
  get view(): GroupView | undefined {
    return this.#view;
  }

  /** What was verified in an earlier run; needs nobody. A damaged one, or one older than what was accepted, is none. */
  async load(): Promise<GroupView | undefined> {
    const { directory, scope, log } = this.#o;
    try {
      const view = await loadGroupView({ directory, scope, log });
      const floor = (await this.#o.highest.get(this.#key)) ?? 0;
      this.#view = view !== undefined && view.bundle.sequence >= floor ? view : undefined;
      if (this.#view !== undefined) this.#o.believed?.(this.#view);
    } catch (error) {
      log.warn('accept.view-unusable', { error });
    }
    return this.#view;
  }

  /** @throws METADATA_*, BUNDLE_*, MANIFEST_INVALID, LIMIT_EXCEEDED, and what the source throws; the view of before stays */
  async refresh(source: MetadataSource, signal?: AbortSignal): Promise<GroupView> {
    const { highest, timekeeper, ...fixed } = this.#o;
    const now = new Date(timekeeper.time.guess());
    const floor = await highest.get(this.#key);
    const view = await refreshGroupView({
      ...fixed,
      source,
      now,
      ...(signal === undefined ? {} : { signal }),
      ...(floor === undefined ? {} : { highest: floor }),
    });
    timekeeper.evidence(notSignedBefore(view));
    if (floor === undefined || view.bundle.sequence > floor) await highest.put(this.#key, view.bundle.sequence);
    this.#view = view;
    this.#o.believed?.(view);
    return view;
  }
}
