import type { Scope } from '../../shared/base/identity.ts';
import type { Bundle } from '../../shared/bundle/bundle.ts';
import { type ChunkList, chunkList, chunkSizes, type Manifest } from '../../shared/bundle/manifest.ts';
import type { BundleContents } from '../../shared/wire/policy.ts';

/** A group's verified signed state, all of whose content is on this gateway's disk. Only such views are offered and served. */
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
  /** Each manifest's chunks, by the manifest's hash. */
  readonly manifests: ReadonlyMap<string, ChunkList>;
}

/** What of a verified view this needs; `GroupView` of shared/trust has it. */
export interface VerifiedView {
  readonly bundle: Bundle;
  readonly bundleHash: string;
  readonly timestampVersion: number;
  readonly manifests: ReadonlyMap<string, Manifest>;
  readonly metadata: ReadonlyMap<string, Buffer>;
  readonly targets: ReadonlyMap<string, Buffer>;
}

export function completeView(view: VerifiedView): CompleteView {
  const { customer, site, group, sequence } = view.bundle;
  const chunks = chunksOf(view.manifests.values());
  return {
    scope: { customer, site, group },
    sequence,
    timestampVersion: view.timestampVersion,
    bundleHash: view.bundleHash,
    metadata: view.metadata,
    targets: view.targets,
    chunks,
    manifests: new Map([...view.manifests].map(([hash, manifest]) => [hash, chunkList(manifest)])),
    has: (hash) => chunks.has(hash),
  };
}

/** Every chunk of several releases once: hash → bytes. */
export function chunksOf(manifests: Iterable<Manifest>): Map<string, number> {
  const all = new Map<string, number>();
  for (const manifest of manifests) for (const [hash, size] of chunkSizes(manifest)) all.set(hash, size);
  return all;
}
