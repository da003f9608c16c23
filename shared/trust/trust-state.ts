import type { Log } from '../base/log.ts';
import { canonicalJson } from '../bundle/canonical.ts';
import { sha256 } from '../bundle/digest.ts';
import { isRotated, onlineKeysOf, type VersionFloor } from './floor.ts';
import { inspectForeign, parseRoot } from './inspect.ts';
import type { TrustFloors, TrustState, TrustStore } from './trust-store.ts';
import type { Trusted } from './tuf-update.ts';

/** Whose trust: one repository (`scope`), from one factory root on. */
export interface Anchor {
  readonly scope: string;
  readonly factoryRoot: Buffer;
}

export interface StartingPoint {
  /** The state to build on: of this scope and descending from this factory root. */
  readonly old: TrustState | undefined;
  /** How far versions had come, by every record that is undamaged. */
  readonly floors: readonly VersionFloor[];
}

/** @throws STORAGE_FAILED */
export async function startingPoint(store: TrustStore, anchor: Anchor & { readonly log: Log }): Promise<StartingPoint> {
  const state = await store.load();
  const floors = await store.floors();
  const old = state === undefined || !descends(state, anchor) ? undefined : inScope(await withOnlineKeys(store, state), anchor);
  const records = [old, floors === undefined || !descends(floors, anchor) ? undefined : inScope(floors, anchor)];
  return { old, floors: records.filter((record) => record !== undefined) };
}

/** States of older agents do not say under which keys; their root does. */
async function withOnlineKeys(store: TrustStore, state: TrustState): Promise<TrustState> {
  const { root } = state.trusted;
  const bytes = state.online !== undefined || root === undefined ? undefined : await store.object(root);
  if (bytes === undefined) return state;
  const { timestamp, snapshot } = onlineKeysOf(parseRoot(bytes));
  return { ...state, online: { timestamp: [...timestamp], snapshot: [...snapshot] } };
}

function descends(record: TrustState | TrustFloors, { factoryRoot, log }: Anchor & { readonly log: Log }): boolean {
  const { version } = inspectForeign('root', factoryRoot);
  const known = record.roots[String(version)];
  if (known === undefined || known === sha256(factoryRoot)) return true;
  log.warn('trust.anchor-changed', { version });
  return false;
}

/** Another group's versions mean nothing here; the root is the same for all. */
function inScope<R extends TrustState | TrustFloors>(record: R, { scope, log }: Anchor & { readonly log: Log }): R {
  if (record.scope === scope) return record;
  log.warn('trust.scope-changed', { from: record.scope, to: scope });
  const { root } = record.versions;
  const versions = root === undefined ? {} : { root };
  if (!('trusted' in record)) return { ...record, scope, versions };
  const rootObject = record.trusted['root'];
  return { ...record, scope, versions, trusted: rootObject === undefined ? {} : { root: rootObject }, view: null };
}

/** What is trusted from now on, but for the view. */
export function nextState(anchor: Anchor, floors: readonly VersionFloor[], trusted: Trusted): Omit<TrustState, 'view'> {
  const versions: Record<string, number> = {};
  // A role whose file was lost keeps its floor, unless rotated keys lowered it on purpose.
  for (const floor of floors) {
    for (const [role, version] of Object.entries(floor.versions)) {
      if (role === 'root' || !isRotated(floor, trusted.online)) versions[role] = Math.max(version, versions[role] ?? 0);
    }
  }
  return {
    format: 1,
    scope: anchor.scope,
    factoryRoot: sha256(anchor.factoryRoot),
    trusted: hashes(trusted.roles),
    versions: { ...versions, ...trusted.versions },
    online: { timestamp: [...trusted.online.timestamp], snapshot: [...trusted.online.snapshot] },
    roots: hashes(trusted.roots),
  };
}

/** After a refusal: the refusal is what the caller must hear of, a full disk on top only goes to the log. */
export async function keepWhatVerified(store: TrustStore, old: TrustState | undefined, state: TrustState, trusted: Trusted, log: Log): Promise<void> {
  if (old !== undefined && canonicalJson(old).equals(canonicalJson(state))) return;
  try {
    await store.commit(state, [...trusted.roots.values(), ...trusted.roles.values()]);
  } catch (error) {
    log.error('trust.not-kept', { error });
  }
}

export function hashes(files: ReadonlyMap<string | number, Buffer>): Record<string, string> {
  return Object.fromEntries([...files].map(([name, bytes]) => [String(name), sha256(bytes)]));
}
