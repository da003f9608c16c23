import type { Clock } from '../../shared/base/clock.ts';
import { isWardcastError } from '../../shared/base/errors.ts';
import type { DeviceIdentity, Identity, Scope } from '../../shared/base/identity.ts';
import { sameScope } from '../../shared/base/identity.ts';
import { UPLOAD_CACHE_BYTES } from '../../shared/base/limits.ts';
import { ChunkCodec, plainHash } from '../../shared/bundle/chunk-form.ts';
import type { ContentKeys } from '../../shared/bundle/content-key.ts';
import { type ChunkList, type ChunkRef, chunkList, type Manifest } from '../../shared/bundle/manifest.ts';
import { type ServedBundle, withoutContent } from '../../shared/net/chunk-server.ts';
import type { GroupView } from '../../shared/trust/client.ts';
import { freshUntil } from '../../shared/trust/freshness.ts';
import { patchesOf } from '../../shared/trust/group-view.ts';
import { OwnReleases } from '../fetch/own-releases.ts';
import type { InstalledTree } from '../handlers/directory.ts';
import type { StagedChunks } from '../handlers/install-handler.ts';
import { ChunkCache } from './chunk-cache.ts';

interface Named {
  readonly chunk: ChunkRef;
  readonly manifest: Manifest;
  readonly release: string;
}

interface Stock {
  readonly view: GroupView | undefined;
  /** Every chunk of the bundle by its hash, and the release that it is read for. */
  readonly named: ReadonlyMap<string, Named>;
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
  readonly #keys: (manifestHash: string) => ContentKeys;
  readonly #cache = new ChunkCache(UPLOAD_CACHE_BYTES);
  /** What this device's zstd packs otherwise than the release's signer did. */
  readonly #otherwise = new Set<string>();
  #trees: readonly InstalledTree[] = [];
  #staged = new Set<StagedChunks>();
  #stock: Stock | undefined;

  /** @param keys of a release's content, as far as they are known */
  constructor(
    device: DeviceIdentity,
    view: () => GroupView | undefined,
    clock: Pick<Clock, 'now'>,
    keys: (manifestHash: string) => ContentKeys = () => new Map(),
  ) {
    this.#device = device;
    this.#clock = clock;
    this.#view = view;
    this.#keys = keys;
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
    const known = named.get(hash);
    if (known === undefined || this.#otherwise.has(hash)) return false;
    return installed.holds(plainHash(known.chunk)) || [...this.#staged].some((tree) => tree.has(hash));
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
    const known = this.#stocked().named.get(hash);
    const content = known === undefined ? undefined : await this.#content(hash, plainHash(known.chunk));
    if (known === undefined || content === undefined) return undefined;
    const { chunk, manifest, release } = known;
    if (chunk.plain === undefined) return content;
    const keys = this.#keys(release);
    // Installed while it was entitled; what it may no longer read it does not pass on either.
    if (chunk.key !== undefined && !keys.has(manifest.encryption?.keys[chunk.key] ?? '')) return undefined;
    const wire = new ChunkCodec(manifest, keys).encode(content, chunk);
    if (wire === undefined) this.#otherwise.add(hash);
    return wire;
  }

  async #content(hash: string, plain: string): Promise<Buffer | undefined> {
    for (const tree of this.#staged) {
      const bytes = tree.has(hash) ? await tree.read(hash) : undefined;
      if (bytes !== undefined) return bytes;
    }
    try {
      return await this.#stocked().installed.get(plain);
    } catch (error) {
      // A file that no longer holds it: absent, as for anything else this device has not got.
      if (isWardcastError(error, 'OBJECT_ABSENT') || isWardcastError(error, 'HASH_MISMATCH')) return undefined;
      throw error;
    }
  }

  #stocked(): Stock {
    const view = this.#view();
    if (this.#stock === undefined || this.#stock.view !== view) {
      const all = [...releasesOf(view), ...patchesOfView(view)];
      const manifests = new Map(all.map(({ hash, manifest }) => [hash, chunkList(manifest)]));
      const named = new Map<string, Named>();
      for (const { release, manifest } of all) {
        for (const file of manifest.files) for (const chunk of file.chunks) named.set(chunk.hash, { chunk, manifest, release });
      }
      const plains = new Set([...named.values()].map(({ chunk }) => plainHash(chunk)));
      this.#otherwise.clear();
      this.#stock = { view, named, manifests, installed: new OwnReleases(this.#trees, plains) };
    }
    return this.#stock;
  }
}

interface Whole {
  readonly hash: string;
  readonly manifest: Manifest;
  /** The release whose content keys open it. */
  readonly release: string;
}

function releasesOf(view: GroupView | undefined): Whole[] {
  return [...(view?.manifests ?? [])].map(([hash, manifest]) => ({ hash, manifest, release: hash }));
}

function patchesOfView(view: GroupView | undefined): Whole[] {
  if (view === undefined) return [];
  return patchesOf(view.bundle).flatMap(({ release, patch }) => {
    const manifest = view.patches.get(patch.manifest);
    return manifest === undefined ? [] : [{ hash: patch.manifest, manifest, release: release.manifest }];
  });
}
