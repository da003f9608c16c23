import { WardcastError } from '../base/errors.ts';
import { MAX_CHUNKS, MAX_FILES, MAX_MANIFEST } from '../base/limits.ts';
import { canonicalJson } from './canonical.ts';
import { wireSize } from './chunk-form.ts';
import { checkManifest } from './manifest-check.ts';
import { type Manifest, ManifestShape } from './manifest-shape.ts';
import { checkShape, parseJson } from './strict-json.ts';

export type { ChunkRef, FileEntry, Hooks, Manifest } from './manifest-shape.ts';

/**
 * Reads a manifest from untrusted bytes. Strict: unknown keys and any bytes but the canonical ones are refused, so that one manifest has
 * one hash. Whoever gets a Manifest may write its files below an empty directory.
 * @throws MANIFEST_INVALID, PATH_UNSAFE, PATH_COLLISION, LIMIT_EXCEEDED
 */
export function parseManifest(bytes: Buffer): Manifest {
  const value = parseJson(bytes, MAX_MANIFEST, 'MANIFEST_INVALID', 'manifest');
  checkCounts(value);
  const manifest: Manifest = checkShape(ManifestShape, value, 'MANIFEST_INVALID', 'manifest');
  checkManifest(manifest);
  if (!canonicalJson(sorted(manifest)).equals(bytes)) {
    throw new WardcastError('MANIFEST_INVALID', 'The manifest is not in canonical form (sorted keys and paths, no white space)');
  }
  return manifest;
}

/**
 * The canonical bytes of a manifest, sorted by path; `parseManifest` of them gives the manifest back.
 * @throws MANIFEST_INVALID, PATH_UNSAFE, PATH_COLLISION, LIMIT_EXCEEDED: what could not be read again is not written
 */
export function printManifest(manifest: Manifest): Buffer {
  checkCounts(manifest);
  checkManifest(checkShape(ManifestShape, manifest, 'MANIFEST_INVALID', 'manifest'));
  const bytes = canonicalJson(sorted(manifest));
  if (bytes.length > MAX_MANIFEST) throw new WardcastError('LIMIT_EXCEEDED', `The manifest has ${bytes.length} bytes, more than ${MAX_MANIFEST}`);
  return bytes;
}

/** Every chunk of the release once: hash → bytes of its wire form. */
export function chunkSizes(manifest: Manifest): Map<string, number> {
  const sizes = new Map<string, number>();
  for (const file of manifest.files) for (const chunk of file.chunks) sizes.set(chunk.hash, wireSize(chunk));
  return sizes;
}

/** The chunks of a release in the order that the swarm numbers them by: each once, at its first place. */
export interface ChunkList {
  readonly hashes: readonly string[];
  /** Bytes of each one's wire form. */
  readonly sizes: readonly number[];
}

export function chunkList(manifest: Manifest): ChunkList {
  const sizes = chunkSizes(manifest);
  return { hashes: [...sizes.keys()], sizes: [...sizes.values()] };
}

/** Sorted, without copying what is sorted already: manifests may have a hundred thousand files. */
function sorted(manifest: Manifest): Manifest {
  return { ...manifest, files: inOrder(manifest.files), links: inOrder(manifest.links) };
}

function inOrder<T extends { readonly path: string }>(entries: readonly T[]): readonly T[] {
  return entries.every((entry, at) => at === 0 || (entries[at - 1]?.path ?? '') < entry.path) ? entries : [...entries].sort(byPath);
}

function byPath(a: { readonly path: string }, b: { readonly path: string }): number {
  return a.path < b.path ? -1 : a.path > b.path ? 1 : 0;
}

/** Counts come before shapes: nobody makes us look at a million entries of nonsense. */
function checkCounts(value: unknown): void {
  const files = listIn(value, 'files');
  const links = listIn(value, 'links');
  if (files.length + links.length > MAX_FILES) {
    throw new WardcastError('LIMIT_EXCEEDED', `The manifest lists ${files.length + links.length} files and links, more than ${MAX_FILES}`);
  }
  let chunks = 0;
  for (const file of files) chunks += listIn(file, 'chunks').length;
  if (chunks > MAX_CHUNKS) throw new WardcastError('LIMIT_EXCEEDED', `The manifest lists ${chunks} chunks, more than ${MAX_CHUNKS}`);
}

function listIn(value: unknown, key: string): readonly unknown[] {
  if (typeof value !== 'object' || value === null) return [];
  const list: unknown = Reflect.get(value, key);
  return Array.isArray(list) ? list : [];
}
