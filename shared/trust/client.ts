import { resolve } from 'node:path';
import { type Scope, scopePath } from '../base/identity.ts';
import { type Log, silentLog } from '../base/log.ts';
import { parseBundle } from '../bundle/bundle.ts';
import { canonicalJson } from '../bundle/canonical.ts';
import type { Manifest } from '../bundle/manifest.ts';
import { type ContentOptions, type GroupView, manifestFor, patchesOf, patchFor, type TargetLookup, type VerifiedContent, verifyContent } from './group-view.ts';
import { inspectMetadata } from './inspect.ts';
import { groupPolicy } from './metadata-policy.ts';
import type { MetadataSource } from './metadata-source.ts';
import { ASSIGNMENT, metadataName, releaseRole } from './roles.ts';
import { serially } from './serially.ts';
import { hashes, keepWhatVerified, nextState, startingPoint } from './trust-state.ts';
import { type TrustState, TrustStore } from './trust-store.ts';
import { type TargetSearch, type Trusted, updateTrusted } from './tuf-update.ts';

export interface RefreshOptions {
  /** Belongs to this scope alone; created when missing. */
  readonly directory: string;
  /** The root metadata that came with the device: where all trust starts. */
  readonly factoryRoot: Buffer;
  readonly scope: Scope;
  readonly source: MetadataSource;
  readonly log: Log;
  readonly signal?: AbortSignal | undefined;
  /** The highest bundle sequence that was ever accepted: a floor of the caller's own. */
  readonly highest?: number | undefined;
  /** The time by which expiry is judged; the system's unless given. */
  readonly now?: Date | undefined;
}

/**
 * Fetches and verifies the newest view of a group: the TUF client workflow (TUF 1.0, 5) by tuf-js, then bundle and manifests.
 * What verified before a refusal stays trusted, so that versions never go back; the last whole view stays what loadGroupView returns.
 * @throws METADATA_*, BUNDLE_*, MANIFEST_INVALID, HASH_MISMATCH, LIMIT_EXCEEDED, STORAGE_FAILED, ABORTED, and what the source throws
 */
export function refreshGroupView(options: RefreshOptions): Promise<GroupView> {
  return serially(resolve(options.directory), () => refresh(options));
}

async function refresh(options: RefreshOptions): Promise<GroupView> {
  const store = new TrustStore(options.directory, options.log);
  const scope = scopePath(options.scope);
  const { old, floors } = await startingPoint(store, { ...options, scope });
  const { directory, factoryRoot, source, signal, now = new Date() } = options;
  const obtain = (find: TargetSearch): Promise<VerifiedContent> => verifyContent({ ...contentOptions(options, store), lookup: lookupIn(find) });
  const { trusted, content, failure } = await updateTrusted(
    { directory, factoryRoot, source, policy: groupPolicy(options.scope), signal, now, obtain },
    store,
    old,
    floors,
  );
  const state =
    trusted === undefined
      ? undefined
      : { ...nextState({ scope, factoryRoot }, floors, trusted), view: content === undefined ? (old?.view ?? null) : viewOf(trusted, content) };
  if (failure !== undefined) {
    options.log.warn('trust.refused', { scope, error: failure });
    if (state !== undefined && trusted !== undefined) await keepWhatVerified(store, old, state, trusted, options.log);
    throw failure;
  }
  if (state !== undefined && (store.damaged || old === undefined || !canonicalJson(old).equals(canonicalJson(state)))) {
    await store.commit(state, [...trusted.roots.values(), ...trusted.roles.values(), ...content.targets.values()]);
    const { roots, versions } = trusted;
    options.log.info('trust.updated', { scope, sequence: content.bundle.sequence, timestamp: versions['timestamp'] ?? 0, root: Math.max(...roots.keys()) });
  }
  return toView(content, metadataOf(trusted, content));
}

function contentOptions(options: RefreshOptions, store: TrustStore): Omit<ContentOptions, 'lookup'> {
  const { scope, source, signal, highest = 0, log } = options;
  return { scope, source, signal, highest, log, stored: (hash) => store.object(hash) };
}

function lookupIn(find: TargetSearch): TargetLookup {
  return async (path) => {
    const info = await find(path);
    const hash = info?.hashes['sha256'];
    return info === undefined || hash === undefined ? undefined : { sha256: hash, length: info.length };
  };
}

function viewOf(trusted: Trusted, content: VerifiedContent): NonNullable<TrustState['view']> {
  return {
    metadata: hashes(metadataOf(trusted, content)),
    bundle: content.bundleHash,
    manifests: [...content.manifests.keys(), ...content.patches.keys()].sort(),
  };
}

/** All metadata that a client starting from any known root needs for this content. */
function metadataOf(trusted: Trusted, content: VerifiedContent): Map<string, Buffer> {
  const files = new Map<string, Buffer>();
  for (const [version, bytes] of trusted.roots) files.set(`${version}.root.json`, bytes);
  for (const role of ['timestamp', 'snapshot', 'targets', ASSIGNMENT, ...content.bundle.releases.map(({ application }) => releaseRole(application))]) {
    const bytes = trusted.roles.get(role);
    const version = trusted.versions[role];
    if (bytes !== undefined && version !== undefined) files.set(metadataName(role, version), bytes);
  }
  return files;
}

/**
 * The last view that verified as a whole, from disk alone: for a start with the line down. Expiry is not looked at again: what was fresh
 * when it was accepted stays accepted. Undefined when there is none for this scope, or when part of it is damaged (then refresh).
 * @throws STORAGE_FAILED
 */
export function loadGroupView(options: { readonly directory: string; readonly scope: Scope; readonly log?: Log | undefined }): Promise<GroupView | undefined> {
  return serially(resolve(options.directory), () => load(options.directory, options.scope, options.log ?? silentLog));
}

async function load(directory: string, scope: Scope, log: Log): Promise<GroupView | undefined> {
  const store = new TrustStore(directory, log);
  const state = await store.load();
  if (state?.view == null || state.scope !== scopePath(scope)) return undefined;
  const metadata = await readAll(store, Object.entries(state.view.metadata));
  const targets = await readAll(
    store,
    [state.view.bundle, ...state.view.manifests].map((hash) => [hash, hash]),
  );
  const bundleBytes = targets?.get(state.view.bundle);
  if (metadata === undefined || targets === undefined || bundleBytes === undefined) return undefined;
  const bundle = parseBundle(bundleBytes);
  const manifests = new Map<string, Manifest>();
  for (const release of bundle.releases) {
    const bytes = targets.get(release.manifest);
    if (bytes === undefined) return undefined;
    manifests.set(release.manifest, manifestFor(release, bytes));
  }
  const patches = new Map<string, Manifest>();
  for (const { release, patch } of patchesOf(bundle)) {
    const bytes = targets.get(patch.manifest);
    if (bytes !== undefined) patches.set(patch.manifest, patchFor(release, bytes));
  }
  return toView({ bundle, bundleHash: state.view.bundle, manifests, patches, targets }, metadata);
}

async function readAll(store: TrustStore, entries: readonly (readonly [string, string])[]): Promise<Map<string, Buffer> | undefined> {
  const files = new Map<string, Buffer>();
  for (const [name, hash] of entries) {
    const bytes = await store.object(hash);
    if (bytes === undefined) return undefined;
    files.set(name, bytes);
  }
  return files;
}

function toView(content: VerifiedContent, metadata: ReadonlyMap<string, Buffer>): GroupView {
  const timestamp = metadata.get('timestamp.json');
  return { ...content, metadata, timestampVersion: timestamp === undefined ? 0 : inspectMetadata('timestamp', timestamp).version };
}

export type { GroupView };
