import type { CompleteView } from './complete-view.ts';

interface GroupState {
  current: CompleteView | undefined;
  previous: CompleteView | undefined;
  pending: ReadonlyMap<string, number> | undefined;
}

/** What a group's devices are served: the complete view, and the one before for those in the middle of fetching it. */
export interface ServedViews {
  readonly current: CompleteView;
  readonly previous: CompleteView | undefined;
}

/** The views of all groups, in memory: what is served and what the disk must keep for it. The truth on disk is ViewStore's. */
export class Views {
  readonly #groups = new Map<string, GroupState>();

  groups(): string[] {
    return [...this.#groups.keys()];
  }

  /** The complete bundles, as GatewayHello tells them. */
  held(): { group: string; sequence: number }[] {
    return [...this.#groups].flatMap(([group, { current }]) => (current === undefined ? [] : [{ group, sequence: current.sequence }]));
  }

  served(group: string): ServedViews | undefined {
    const state = this.#groups.get(group);
    return state?.current === undefined ? undefined : { current: state.current, previous: state.previous };
  }

  set(group: string, views: ServedViews): void {
    const state = this.#state(group);
    state.current = views.current;
    state.previous = views.previous;
  }

  /** From now on the disk keeps these chunks (hash → bytes): they are being gathered for this group's next view. */
  gather(group: string, chunks: ReadonlyMap<string, number> | undefined): void {
    this.#state(group).pending = chunks;
  }

  /** What would be served if `view` took the place of the current one; a mere renewal of signatures keeps the previous bundle. */
  successor(view: CompleteView): ServedViews {
    const served = this.served(view.scope.group);
    return { current: view, previous: served === undefined || served.current.bundleHash === view.bundleHash ? served?.previous : served.current };
  }

  /** Every chunk that some group's current, previous or coming view needs. */
  needed(): Set<string> {
    const hashes = new Set<string>();
    for (const { current, previous, pending } of this.#groups.values()) {
      for (const chunks of [current?.chunks, previous?.chunks, pending]) for (const hash of chunks?.keys() ?? []) hashes.add(hash);
    }
    return hashes;
  }

  #state(group: string): GroupState {
    let state = this.#groups.get(group);
    if (state === undefined) {
      state = { current: undefined, previous: undefined, pending: undefined };
      this.#groups.set(group, state);
    }
    return state;
  }
}
