import { resolve } from 'node:path';
import { type Scope, scopePath } from '../base/identity.ts';
import { type Log, silentLog } from '../base/log.ts';
import { parseBundle } from '../bundle/bundle.ts';
import { canonicalJson } from '../bundle/canonical.ts';
import { sha256 } from '../bundle/digest.ts';
import type { Manifest } from '../bundle/manifest.ts';
import { type GroupView, manifestFor, type VerifiedContent } from './group-view.ts';
import { inspectMetadata } from './inspect.ts';
import { ASSIGNMENT, metadataName, releaseRole } from './roles.ts';
import { serially } from './serially.ts';
import { type TrustState, TrustStore } from './trust-store.ts';
import { type RefreshOptions, type Trusted, updateTrusted } from './tuf-update.ts';

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
  const old = await startingPoint(store, options);
  const { trusted, content, failure } = await updateTrusted(options, store, old);
  const state = nextState(options, old, trusted, content);
  if (failure !== undefined) {
    options.log.warn('trust.refused', { scope: scopePath(options.scope), error: failure });
    await keepWhatVerified(store, old, state, trusted, options.log);
    throw failure;
  }
  if (store.damaged || old === undefined || !canonicalJson(old).equals(canonicalJson(state))) {
    await store.commit(state, [...trusted.roots.values(), ...trusted.roles.values(), ...content.targets.values()]);
    options.log.info('trust.updated', { scope: scopePath(options.scope), sequence: content.bundle.sequence, timestamp: trusted.versions['timestamp'] ?? 0 });
  }
  return toView(content, metadataOf(trusted, content));
}

/** The state to build on: of this scope and descending from this factory root. */
async function startingPoint(store: TrustStore, options: RefreshOptions): Promise<TrustState | undefined> {
  const state = await store.load();
  if (state === undefined) return undefined;
  const { version } = inspectMetadata('root', options.factoryRoot);
  const known = state.roots[String(version)];
  if (known !== undefined && known !== sha256(options.factoryRoot)) {
    options.log.warn('trust.anchor-changed', { version });
    return undefined;
  }
  if (state.scope === scopePath(options.scope)) return state;
  // Another group's versions mean nothing here; the root is the same for all.
  options.log.warn('trust.scope-changed', { from: state.scope, to: scopePath(options.scope) });
  const { root } = state.trusted;
  return { ...state, scope: scopePath(options.scope), trusted: root === undefined ? {} : { root }, versions: {}, view: null };
}

function nextState(options: RefreshOptions, old: TrustState | undefined, trusted: Trusted, content: VerifiedContent | undefined): TrustState {
  return {
    format: 1,
    scope: scopePath(options.scope),
    factoryRoot: sha256(options.factoryRoot),
    trusted: hashes(trusted.roles),
    // A role whose file was lost keeps its floor, unless a newer root may have lowered it on purpose.
    versions: old?.versions['root'] === trusted.versions['root'] ? { ...old?.versions, ...trusted.versions } : { ...trusted.versions },
    roots: hashes(trusted.roots),
    view:
      content === undefined
        ? (old?.view ?? null)
        : { metadata: hashes(metadataOf(trusted, content)), bundle: content.bundleHash, manifests: [...content.manifests.keys()].sort() },
  };
}

/** After a refusal: the refusal is what the caller must hear of, a full disk on top only goes to the log. */
async function keepWhatVerified(store: TrustStore, old: TrustState | undefined, state: TrustState, trusted: Trusted, log: Log): Promise<void> {
  if (old !== undefined && canonicalJson(old).equals(canonicalJson(state))) return;
  try {
    await store.commit(state, [...trusted.roots.values(), ...trusted.roles.values()]);
  } catch (error) {
    log.error('trust.not-kept', { error });
  }
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

function hashes(files: ReadonlyMap<string | number, Buffer>): Record<string, string> {
  return Object.fromEntries([...files].map(([name, bytes]) => [String(name), sha256(bytes)]));
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
  return toView({ bundle, bundleHash: state.view.bundle, manifests, targets }, metadata);
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

export type { GroupView, RefreshOptions };
