import type { Scope } from '../../shared/base/identity.ts';
import type { Bundle, BundleRelease } from '../../shared/bundle/bundle.ts';
import { type ChunkList, chunkList, chunkSizes, type Manifest } from '../../shared/bundle/manifest.ts';
import type { BundleContents } from '../../shared/wire/policy.ts';

/**
 * A group's verified signed state, all of whose content is on this gateway's disk; of releases with patches these are, and the rest when a device needs it.
 * Only such views are offered and served.
 */
export interface CompleteView extends BundleContents {
  readonly scope: Scope;
  readonly sequence: number;
  readonly timestampVersion: number;
  readonly bundleHash: string;
  /** Raw signed metadata by file name. */
  readonly metadata: ReadonlyMap<string, Buffer>;
  /** The bundle and its manifests, raw, by sha256. */
  readonly targets: ReadonlyMap<string, Buffer>;
  /** Every chunk of the bundle once: hash → bytes. */
  readonly chunks: ReadonlyMap<string, number>;
  /** Each manifest's chunks, by the manifest's hash; patches have manifests of their own. */
  readonly manifests: ReadonlyMap<string, ChunkList>;
  /** Manifest hashes of the releases whose chunks are fetched when a device needs them. */
  readonly patched: ReadonlySet<string>;
}

/** What of a verified view this needs; `GroupView` of shared/trust has it. */
export interface VerifiedView {
  readonly bundle: Bundle;
  readonly bundleHash: string;
  readonly timestampVersion: number;
  readonly manifests: ReadonlyMap<string, Manifest>;
  readonly patches: ReadonlyMap<string, Manifest>;
  readonly metadata: ReadonlyMap<string, Buffer>;
  readonly targets: ReadonlyMap<string, Buffer>;
}

export function completeView(view: VerifiedView): CompleteView {
  const { customer, site, group, sequence } = view.bundle;
  const manifests = [...view.manifests, ...view.patches];
  const chunks = chunksOf(manifests.map(([, manifest]) => manifest));
  return {
    scope: { customer, site, group },
    sequence,
    timestampVersion: view.timestampVersion,
    bundleHash: view.bundleHash,
    metadata: view.metadata,
    targets: view.targets,
    chunks,
    manifests: new Map(manifests.map(([hash, manifest]) => [hash, chunkList(manifest)])),
    patched: new Set(view.bundle.releases.flatMap((release) => (patchesFor(release, view).length === 0 ? [] : [release.manifest]))),
    has: (hash) => chunks.has(hash),
  };
}

/** What a gateway fetches before it offers the bundle: of a release with patches, as far as all could be had, these; of any other its chunks. */
export function pulledFirst(view: VerifiedView): Map<string, number> {
  return chunksOf(
    view.bundle.releases.flatMap((release) => {
      const patches = patchesFor(release, view);
      const whole = view.manifests.get(release.manifest);
      return patches.length > 0 ? patches : whole === undefined ? [] : [whole];
    }),
  );
}

/** All or none: a device whose patch is missing needs the chunks anyhow. */
function patchesFor({ patches = [] }: BundleRelease, view: VerifiedView): Manifest[] {
  const found = patches.flatMap(({ manifest }) => view.patches.get(manifest) ?? []);
  return found.length === patches.length ? found : [];
}

/** Every chunk of several releases once: hash → bytes. */
export function chunksOf(manifests: Iterable<Manifest>): Map<string, number> {
  const all = new Map<string, number>();
  for (const manifest of manifests) for (const [hash, size] of chunkSizes(manifest)) all.set(hash, size);
  return all;
}
