import { type ErrorCode, isWardcastError, WardcastError } from '../base/errors.ts';
import { type Scope, sameScope, scopePath } from '../base/identity.ts';
import { MAX_BUNDLE } from '../base/limits.ts';
import type { Log } from '../base/log.ts';
import { type Bundle, type BundlePatch, type BundleRelease, parseBundle } from '../bundle/bundle.ts';
import { sha256 } from '../bundle/digest.ts';
import { type Manifest, parseManifest } from '../bundle/manifest.ts';
import type { MetadataSource } from './metadata-source.ts';
import { bundleTarget, releaseTarget } from './roles.ts';

/** What one group at one site shall run, verified from the root down. */
export interface GroupView {
  readonly bundle: Bundle;
  readonly bundleHash: string;
  readonly timestampVersion: number;
  /** By manifest hash: one per release of the bundle. */
  readonly manifests: ReadonlyMap<string, Manifest>;
  /** By manifest hash: the patches that its releases name, as far as they could be had and make sense. */
  readonly patches: ReadonlyMap<string, Manifest>;
  /** Every raw metadata file of this view by name, with all known versions of root: enough to serve it on. */
  readonly metadata: ReadonlyMap<string, Buffer>;
  /** The raw bundle and manifests by sha256. */
  readonly targets: ReadonlyMap<string, Buffer>;
}

export type VerifiedContent = Pick<GroupView, 'bundle' | 'bundleHash' | 'manifests' | 'patches' | 'targets'>;

/** What signed metadata says about a target file; undefined when no role lists it. */
export type TargetLookup = (path: string) => Promise<{ readonly sha256: string; readonly length: number } | undefined>;

export interface ContentOptions {
  readonly scope: Scope;
  readonly lookup: TargetLookup;
  /** Already on disk, hash checked; undefined when not. */
  readonly stored: (sha256: string) => Promise<Buffer | undefined>;
  readonly source: MetadataSource;
  readonly signal: AbortSignal | undefined;
  /** The highest bundle sequence the caller has ever accepted. */
  readonly highest: number;
  readonly log: Log;
}

/**
 * The bundle and its manifests, in the order in which each may be believed: length, hash, form, scope, sequence, then both chains' agreement.
 * @throws BUNDLE_SCOPE, BUNDLE_INVALID, MANIFEST_INVALID, METADATA_UNTRUSTED, METADATA_ROLLBACK, METADATA_MISSING, HASH_MISMATCH, LIMIT_EXCEEDED …
 */
export async function verifyContent(options: ContentOptions): Promise<VerifiedContent> {
  const { scope } = options;
  const target = await options.lookup(bundleTarget(scope));
  if (target === undefined) throw new WardcastError('BUNDLE_SCOPE', `The assignment holds no bundle for ${scopePath(scope)}`);
  if (target.length > MAX_BUNDLE) throw new WardcastError('LIMIT_EXCEEDED', `The bundle is announced with ${target.length} bytes, more than ${MAX_BUNDLE}`);
  const bundleBytes = await obtain(options, target.sha256, target.length, 'bundle');
  const bundle = parseBundle(bundleBytes);
  if (!sameScope(bundle, scope)) {
    throw new WardcastError('BUNDLE_SCOPE', `The bundle is for ${scopePath(bundle)}, not for ${scopePath(scope)}`);
  }
  if (bundle.sequence < options.highest) {
    throw new WardcastError('METADATA_ROLLBACK', `The bundle has sequence ${bundle.sequence}, but ${options.highest} was accepted already`);
  }
  const targets = new Map([[target.sha256, bundleBytes]]);
  const manifests = new Map<string, Manifest>();
  for (const release of bundle.releases) {
    await checkAgreement(options.lookup, release);
    const bytes = await obtain(options, release.manifest, release.size, `manifest of ${release.application} ${release.version}`);
    targets.set(release.manifest, bytes);
    manifests.set(release.manifest, manifestFor(release, bytes));
  }
  const patches = new Map<string, Manifest>();
  for (const { release, patch } of patchesOf(bundle)) {
    try {
      const bytes = await obtain(options, patch.manifest, patch.size, `patch of ${release.application} ${release.version}`);
      patches.set(patch.manifest, patchFor(release, bytes));
      targets.set(patch.manifest, bytes);
    } catch (error) {
      // A help that is not needed: without it whole chunks are fetched.
      if (!isWardcastError(error) || !UNUSABLE.has(error.code)) throw error;
      options.log.warn('trust.patch-unusable', { application: release.application, version: release.version, patch: patch.manifest, error });
    }
  }
  return { bundle, bundleHash: target.sha256, manifests, patches, targets };
}

/** What says that one file is not what it should be, as opposed to a source that cannot be reached. */
const UNUSABLE: ReadonlySet<ErrorCode> = new Set([
  'METADATA_MISSING',
  'METADATA_UNTRUSTED',
  'HASH_MISMATCH',
  'LIMIT_EXCEEDED',
  'MANIFEST_INVALID',
  'PATH_UNSAFE',
  'PATH_COLLISION',
]);

/** All patches that a bundle names. */
export function patchesOf(bundle: Bundle): { readonly release: BundleRelease; readonly patch: BundlePatch }[] {
  return bundle.releases.flatMap((release) => (release.patches ?? []).map((patch) => ({ release, patch })));
}

/** The assignment names the release, but only its vendor's role says that it is one. */
async function checkAgreement(lookup: TargetLookup, { application, version, manifest, size }: BundleRelease): Promise<void> {
  const listed = await lookup(releaseTarget(application, version));
  if (listed?.sha256 === manifest && listed.length === size) return;
  const why = listed === undefined ? 'does not list that version' : `lists it with manifest ${listed.sha256}, not ${manifest}`;
  throw new WardcastError('METADATA_UNTRUSTED', `The bundle names ${application} ${version}, but the role release-${application} ${why}`, {
    remedy: 'If the release was withdrawn, let the provider make another one current; otherwise somebody forges bundles.',
  });
}

/** @throws METADATA_UNTRUSTED when the manifest is for another release than the one it is named for, MANIFEST_INVALID … */
export function manifestFor(release: BundleRelease, bytes: Buffer): Manifest {
  const manifest = parseManifest(bytes);
  if (manifest.application !== release.application || manifest.version !== release.version) {
    throw new WardcastError(
      'METADATA_UNTRUSTED',
      `The manifest of ${release.application} ${release.version} says that it is ${manifest.application} ${manifest.version}`,
    );
  }
  return manifest;
}

/** A patch's own manifest: one file. @throws METADATA_UNTRUSTED, MANIFEST_INVALID … */
export function patchFor(release: BundleRelease, bytes: Buffer): Manifest {
  const manifest = manifestFor(release, bytes);
  if (manifest.files.length !== 1 || manifest.links.length !== 0 || Object.keys(manifest.hooks).length !== 0)
    throw new WardcastError('MANIFEST_INVALID', `The patch for ${release.application} ${release.version} is more than one file`);
  return manifest;
}

async function obtain(options: ContentOptions, hash: string, length: number, what: string): Promise<Buffer> {
  const stored = await options.stored(hash);
  const bytes = stored ?? (await fetchTarget(options, hash, length));
  if (bytes === undefined) throw new WardcastError('METADATA_MISSING', `The ${what} (${hash}) could not be obtained`);
  if (bytes.length !== length) {
    const code = bytes.length > length ? 'LIMIT_EXCEEDED' : 'HASH_MISMATCH';
    throw new WardcastError(code, `The ${what} has ${bytes.length} bytes where ${length} are signed`);
  }
  if (sha256(bytes) !== hash) throw new WardcastError('HASH_MISMATCH', `The ${what} does not have the hash ${hash} that is signed`);
  return bytes;
}

async function fetchTarget({ source, signal }: ContentOptions, hash: string, maxBytes: number): Promise<Buffer | undefined> {
  signal?.throwIfAborted();
  try {
    return await source.target(hash, { maxBytes, signal });
  } catch (error) {
    if (isWardcastError(error, 'OBJECT_ABSENT')) return undefined;
    throw error;
  }
}
