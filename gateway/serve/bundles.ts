import type { Clock } from '../../shared/base/clock.ts';
import { toWardcastError } from '../../shared/base/errors.ts';
import { type GatewayIdentity, type Identity, type Scope, sameScope } from '../../shared/base/identity.ts';
import { REPAIR_TIMEOUT } from '../../shared/base/limits.ts';
import type { Log } from '../../shared/base/log.ts';
import { type ServedBundle, withoutContent } from '../../shared/net/chunk-server.ts';
import type { ObjectRef } from '../../shared/net/exchange/object-ref.ts';
import type { ChunkStore } from '../../shared/store/chunk-source.ts';
import { freshUntil } from '../../shared/trust/freshness.ts';
import { mayFetch, mayFetchScope } from '../../shared/wire/policy.ts';
import type { ChunkPull } from '../relay/chunk-pull.ts';
import type { CompleteView } from '../relay/complete-view.ts';
import type { Views } from '../relay/views.ts';
import { servedBundle } from './served-bundle.ts';

interface Options {
  readonly gateway: GatewayIdentity;
  readonly views: Views;
  readonly store: ChunkStore;
  readonly chunks: ChunkPull;
  readonly lineUp: () => boolean;
  /** Content of a bundle leaves for a device. */
  readonly onSent: (group: string, sequence: number, bytes: number) => void;
  readonly clock: Clock;
  readonly log: Log;
}

/** What both doors of the LAN hand out: https by scope, MQTT by object. */
export class Bundles {
  readonly #o: Options;
  readonly #repairs = new Map<string, Promise<boolean>>();
  /** Chunks of releases with patches that are being pulled for devices. */
  readonly #preparing = new Set<string>();

  constructor(options: Options) {
    this.#o = options;
  }

  /** For the chunk server, which asks the policy itself. */
  readonly find = (_identity: Identity, scope: Scope): ServedBundle | undefined => {
    const views = this.#o.views.served(scope.group);
    if (views === undefined || !sameScope(views.current.scope, scope)) return undefined;
    const bundle = servedBundle(views, this.#o.store, this.#repair, this.#o.log);
    return this.#o.clock.now() > freshUntil(views.current.metadata) ? withoutContent(bundle) : bundle;
  };

  /** The same, counting the chunks that are read: for a server that sends at once what it reads. */
  readonly give = (identity: Identity, scope: Scope): ServedBundle | undefined => {
    const bundle = this.find(identity, scope);
    if (bundle === undefined) return undefined;
    const chunk = async (hash: string): Promise<Buffer | undefined> => {
      const bytes = await bundle.chunk(hash);
      if (bytes !== undefined) this.#sent(scope.group, bytes.length, ({ chunks }) => chunks.has(hash));
      return bytes;
    };
    return { ...bundle, chunk };
  };

  /**
   * A device is about to ask for chunks of a manifest. Those of a release with patches may not be here yet: they are pulled, each once whoever asks.
   * @param indexes of the manifest's chunks
   */
  prepare(group: string, manifest: string, indexes: Iterable<number>): void {
    const views = this.#o.views.served(group);
    const view = [views?.current, views?.previous].find((one) => one?.patched.has(manifest));
    const list = view?.manifests.get(manifest);
    if (list === undefined) return;
    const wanted = new Map<string, number>();
    for (const index of indexes) {
      const hash = list.hashes[index];
      const size = list.sizes[index];
      if (hash !== undefined && size !== undefined) wanted.set(hash, size);
    }
    void this.#pullMissing(group, manifest, wanted);
  }

  async #pullMissing(group: string, manifest: string, wanted: Map<string, number>): Promise<void> {
    const { store, chunks, log } = this.#o;
    try {
      for (const hash of [...wanted.keys()]) if (this.#preparing.has(hash) || (await store.has(hash))) wanted.delete(hash);
      if (wanted.size === 0) return;
      for (const hash of wanted.keys()) this.#preparing.add(hash);
      try {
        const bytes = [...wanted.values()].reduce((sum, size) => sum + size, 0);
        log.info('serve.chunks-needed', { group, manifest, chunks: wanted.size, bytes });
        await chunks.obtain(group, wanted);
      } finally {
        for (const hash of wanted.keys()) this.#preparing.delete(hash);
      }
    } catch (error) {
      // Asked for again by whoever still needs them.
      log.warn('serve.chunks-not-pulled', { group, manifest, error: toWardcastError(error) });
    }
  }

  /** A chunk of this manifest went to a device by another way than `give`. */
  sent(group: string, manifest: string, bytes: number): void {
    this.#sent(group, bytes, ({ manifests }) => manifests.has(manifest));
  }

  /** For the object server: undefined for unknown and for not entitled alike. */
  readonly read = async (identity: Identity, ref: ObjectRef): Promise<Buffer | undefined> => {
    const scope: Scope = { customer: this.#o.gateway.customer, site: this.#o.gateway.site, group: ref.group };
    if (!mayFetchScope(identity, scope)) return undefined;
    const bundle = this.give(identity, scope);
    if (bundle === undefined) return undefined;
    switch (ref.kind) {
      case 'metadata':
        return bundle.metadata(ref.name);
      case 'target':
        return bundle.target(ref.name);
      case 'chunk':
        return mayFetch(identity, bundle, ref.name) ? bundle.chunk(ref.name) : undefined;
    }
  };

  /** Counts for the current bundle, unless only the one before it has what was sent. */
  #sent(group: string, bytes: number, holds: (view: CompleteView) => boolean): void {
    const views = this.#o.views.served(group);
    if (views === undefined) return;
    const { current, previous } = views;
    this.#o.onSent(group, (previous === undefined || holds(current) ? current : previous).sequence, bytes);
  }

  readonly #repair = async (group: string, hash: string, size: number): Promise<boolean> => {
    const asked = this.#ask(group, hash, size);
    if (!this.#o.lineUp()) return false;
    const patience = new AbortController();
    const timer = this.#o.clock.sleep(REPAIR_TIMEOUT, { signal: patience.signal }).then(
      () => false,
      () => false,
    );
    try {
      return await Promise.race([asked, timer]);
    } finally {
      patience.abort();
    }
  };

  /** Stays asked for when nobody waits any more: also while the line is down, so that the disk is whole again when it is up. */
  async #ask(group: string, hash: string, size: number): Promise<boolean> {
    // One request per lost chunk, however many devices stumble over it while the line is down.
    let asked = this.#repairs.get(hash);
    if (asked === undefined) {
      asked = this.#pull(group, hash, size).finally(() => this.#repairs.delete(hash));
      this.#repairs.set(hash, asked);
    }
    return asked;
  }

  async #pull(group: string, hash: string, size: number): Promise<boolean> {
    try {
      await this.#o.chunks.obtain(group, new Map([[hash, size]]));
      this.#o.log.info('serve.chunk-repaired', { group, hash });
      return true;
    } catch (error) {
      this.#o.log.warn('serve.chunk-not-repaired', { group, hash, error: toWardcastError(error) });
      return false;
    }
  }
}
