import type { Clock } from '../../shared/base/clock.ts';
import { isWardcastError } from '../../shared/base/errors.ts';
import type { DeviceIdentity, Identity, Scope } from '../../shared/base/identity.ts';
import { sameScope } from '../../shared/base/identity.ts';
import { UPLOAD_CACHE_BYTES } from '../../shared/base/limits.ts';
import { type ChunkList, chunkList } from '../../shared/bundle/manifest.ts';
import { type ServedBundle, withoutContent } from '../../shared/net/chunk-server.ts';
import type { GroupView } from '../../shared/trust/client.ts';
import { freshUntil } from '../../shared/trust/freshness.ts';
import { OwnReleases } from '../fetch/own-releases.ts';
import type { InstalledTree } from '../handlers/directory.ts';
import type { StagedChunks } from '../handlers/install-handler.ts';
import { ChunkCache } from './chunk-cache.ts';

interface Stock {
  readonly view: GroupView | undefined;
  /** Every chunk of the bundle. */
  readonly named: ReadonlySet<string>;
  readonly manifests: ReadonlyMap<string, ChunkList>;
  readonly installed: OwnReleases;
}

/**
 * What this device serves of its group's bundle to others: the verified metadata, and chunks that the bundle names and that stand on it, installed or
 * being staged. What else stands on it is nobody's: a device that moved here still has releases of its old group.
 */
export class OwnShelf {
  readonly #device: DeviceIdentity;
  readonly #view: () => GroupView | undefined;
  readonly #clock: Pick<Clock, 'now'>;
  readonly #cache = new ChunkCache(UPLOAD_CACHE_BYTES);
  #trees: readonly InstalledTree[] = [];
  #staged = new Set<StagedChunks>();
  #stock: Stock | undefined;

  constructor(device: DeviceIdentity, view: () => GroupView | undefined, clock: Pick<Clock, 'now'>) {
    this.#device = device;
    this.#clock = clock;
    this.#view = view;
  }

  /** What stands on the device has changed. */
  restock(trees: readonly InstalledTree[]): void {
    this.#trees = trees;
    this.#stock = undefined;
    this.#cache.clear();
  }

  /** A tree that is being staged, until the returned function is called. */
  stage(tree: StagedChunks): () => void {
    this.#staged.add(tree);
    return () => this.#staged.delete(tree);
  }

  /** A verified chunk that was just stored: peers will ask for it soon. */
  keep(hash: string, bytes: Buffer): void {
    this.#cache.put(hash, bytes);
  }

  /** Is a chunk of the bundle on the device, as far as is known without reading it? */
  holds(hash: string): boolean {
    const { named, installed } = this.#stocked();
    return named.has(hash) && (installed.holds(hash) || [...this.#staged].some((tree) => tree.has(hash)));
  }

  /** For the doors, which ask the policy whether `identity` may have it. */
  readonly find = (_identity: Identity, scope: Scope): ServedBundle | undefined => {
    if (!sameScope(scope, this.#device)) return undefined;
    const { view, named, manifests } = this.#stocked();
    const bundle: ServedBundle = {
      scope: this.#device,
      has: (hash) => named.has(hash),
      metadata: async (name) => view?.metadata.get(name),
      target: async (hash) => view?.targets.get(hash),
      manifest: (hash) => manifests.get(hash),
      chunk: (hash) => this.#chunk(hash),
    };
    return view !== undefined && this.#clock.now() > freshUntil(view.metadata) ? withoutContent(bundle) : bundle;
  };

  async #chunk(hash: string): Promise<Buffer | undefined> {
    const bytes = this.#cache.get(hash) ?? (await this.#read(hash));
    if (bytes !== undefined) this.#cache.put(hash, bytes);
    return bytes;
  }

  async #read(hash: string): Promise<Buffer | undefined> {
    for (const tree of this.#staged) {
      const bytes = tree.has(hash) ? await tree.read(hash) : undefined;
      if (bytes !== undefined) return bytes;
    }
    try {
      return await this.#stocked().installed.get(hash);
    } catch (error) {
      // A file that no longer holds it: absent, as for anything else this device has not got.
      if (isWardcastError(error, 'OBJECT_ABSENT') || isWardcastError(error, 'HASH_MISMATCH')) return undefined;
      throw error;
    }
  }

  #stocked(): Stock {
    const view = this.#view();
    if (this.#stock === undefined || this.#stock.view !== view) {
      const manifests = new Map([...(view?.manifests ?? [])].map(([hash, manifest]) => [hash, chunkList(manifest)]));
      const named = new Set([...manifests.values()].flatMap(({ hashes }) => hashes));
      this.#stock = { view, named, manifests, installed: new OwnReleases(this.#trees, named) };
    }
    return this.#stock;
  }
}
