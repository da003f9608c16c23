import './tuf-models.ts';
import { readFileSync } from 'node:fs';
import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Metadata, Root, TargetFile } from '@tufjs/models';
import { Updater } from 'tuf-js';
// The root's own step (5.3) runs before the rest, see verifyRoots; tuf-js does not export its store from the entry point.
import { TrustedMetadataStore } from 'tuf-js/dist/store.js';
import { toWardcastError, WardcastError } from '../base/errors.ts';
import { MAX_DELEGATIONS, MAX_ROOT_METADATA, MAX_ROOT_ROTATIONS, MAX_SNAPSHOT_METADATA, MAX_TARGETS_METADATA, MAX_TIMESTAMP_METADATA } from '../base/limits.ts';
import { makeDirectory } from '../store/durable-file.ts';
import { goneBack, isRotated, type OnlineKeys, onlineKeysOf, type VersionFloor } from './floor.ts';
import { inspectForeign } from './inspect.ts';
import type { MetadataPolicy } from './metadata-policy.ts';
import type { MetadataSource } from './metadata-source.ts';
import type { TrustState, TrustStore } from './trust-store.ts';
import { fromTufError } from './tuf-errors.ts';
import { METADATA_BASE_URL, SourceFetcher } from './tuf-fetcher.ts';

export interface UpdateOptions<C> {
  /** Belongs to this repository alone; created when missing. */
  readonly directory: string;
  /** The root metadata that came with the machine: where all trust starts. */
  readonly factoryRoot: Buffer;
  readonly source: Pick<MetadataSource, 'metadata'>;
  readonly policy: MetadataPolicy;
  readonly signal?: AbortSignal | undefined;
  /** The time of this update (5.1), by which expiry is judged. */
  readonly now: Date;
  /** What is wanted once the top-level metadata is verified; `find` searches the delegations (5.6.7, 5.7.1). */
  readonly obtain: (find: TargetSearch, root: Metadata<Root>) => Promise<C>;
}

/** What signed metadata says about a target; undefined when no role lists it. @throws METADATA_* */
export type TargetSearch = (path: string) => Promise<TargetFile | undefined>;

/** What is verified after an update, whether or not it reached its end. */
export interface Trusted {
  /** Metadata by role; names are URL-encoded, which changes none of ours. */
  readonly roles: ReadonlyMap<string, Buffer>;
  readonly versions: Readonly<Record<string, number>>;
  /** All versions of root in the chain. */
  readonly roots: ReadonlyMap<number, Buffer>;
  /** Whose signatures the newest root asks for on timestamp and snapshot. */
  readonly online: OnlineKeys;
  /** What was recorded about the other roles' versions counts no more: their keys were rotated (5.3.11). */
  readonly floorsLifted: boolean;
}

export type Update<C> =
  | { readonly trusted: Trusted; readonly content: C; readonly failure: undefined }
  /** `trusted` undefined: nothing of it may be kept. */
  | { readonly trusted: Trusted | undefined; readonly content: undefined; readonly failure: WardcastError };

const CONFIG = {
  rootMaxLength: MAX_ROOT_METADATA,
  timestampMaxLength: MAX_TIMESTAMP_METADATA,
  snapshotMaxLength: MAX_SNAPSHOT_METADATA,
  targetsMaxLength: MAX_TARGETS_METADATA,
  maxDelegations: MAX_DELEGATIONS,
};
const WORK = 'work-';

/**
 * The client workflow (TUF 1.0, 5). tuf-js runs in a folder of its own, filled from `old`: it writes its files neither whole nor synced, so its
 * folder never is the truth. `floors`: versions recorded apart, which hold even when the files themselves are damaged.
 * @throws STORAGE_FAILED; everything else is in `failure`
 */
export async function updateTrusted<C>(
  options: UpdateOptions<C>,
  store: TrustStore,
  old: TrustState | undefined,
  floors: readonly VersionFloor[],
): Promise<Update<C>> {
  const fetcher = new SourceFetcher(options.source, options.policy, options.signal);
  const roots = await knownRoots(options.factoryRoot, store, old);
  const start = roots.get(Math.max(...roots.keys())) ?? options.factoryRoot;
  const rooted = await verifyRoots(start, fetcher, roots, options.now);
  if (rooted.root === undefined) return { trusted: undefined, content: undefined, failure: rooted.failure };
  const online = onlineKeysOf(rooted.root);
  const floorsLifted = floors.some((floor) => isRotated(floor, online));
  const folder = await prepare(options.directory, store, old, rooted.newest, floorsLifted);
  try {
    const outcome = rooted.failure ?? (await run(options, folder, fetcher, rooted.root));
    const trusted = { ...(await collect(folder)), roots, online, floorsLifted };
    const back = floors.map((floor) => goneBack(floor, trusted.versions, online)).find((failure) => failure !== undefined);
    // Only possible when local files were damaged: then the recorded versions are all that stands against a replay.
    if (back !== undefined) return { trusted: undefined, content: undefined, failure: back };
    return outcome instanceof WardcastError ? { trusted, content: undefined, failure: outcome } : { trusted, content: outcome.content, failure: undefined };
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

type Rooted =
  | { readonly newest: Buffer; readonly root: Metadata<Root>; readonly failure: WardcastError | undefined }
  | { readonly newest: Buffer; readonly root: undefined; readonly failure: WardcastError };

/**
 * Steps 5.2 and 5.3, apart from the others because 5.3.11 (forget timestamp and snapshot when their keys were rotated) must happen between
 * them, which tuf-js leaves out. Adds to `roots`.
 */
async function verifyRoots(start: Buffer, fetcher: SourceFetcher, roots: Map<number, Buffer>, now: Date): Promise<Rooted> {
  let newest = start;
  let trusted: TrustedMetadataStore;
  try {
    inspectForeign('root', start);
    trusted = new TrustedMetadataStore(start);
  } catch (error) {
    return { newest, root: undefined, failure: toFailure(error) };
  }
  const rooted = (failure?: WardcastError): Rooted => ({ newest, root: trusted.root, failure });
  try {
    for (let rotations = 0; rotations < MAX_ROOT_ROTATIONS; rotations++) {
      const version = trusted.root.signed.version + 1;
      const bytes = await fetcher.root(version);
      if (bytes === undefined) break;
      trusted.updateRoot(bytes);
      newest = bytes;
      roots.set(version, bytes);
    }
  } catch (error) {
    return rooted(fetcher.failure ?? fromTufError(error));
  }
  // 5.3.10, before anything else is asked for.
  return trusted.root.signed.isExpired(now) ? rooted(fromTufError(new Error('Final root.json is expired'))) : rooted();
}

async function run<C>(
  options: UpdateOptions<C>,
  folder: string,
  fetcher: SourceFetcher,
  root: Metadata<Root>,
): Promise<{ readonly content: C } | WardcastError> {
  let updater: Updater;
  try {
    updater = new Updater({ metadataDir: folder, metadataBaseUrl: METADATA_BASE_URL, fetcher, config: CONFIG });
    // tuf-js writes a role's file under its encoded name and looks for it under the plain one, which may point anywhere.
    Object.defineProperty(updater, 'loadLocalMetadata', { value: (role: string) => readFileSync(join(folder, `${encodeURIComponent(role)}.json`)) });
    // It reads the system's clock when it is made.
    Object.defineProperty(Reflect.get(updater, 'trustedSet'), 'referenceTime', { value: options.now });
    await updater.refresh();
  } catch (error) {
    return fetcher.failure ?? fromTufError(error);
  }
  const find: TargetSearch = async (path) => {
    // tuf-js would find these in every role.
    if (path in Object.prototype) return undefined;
    try {
      return await updater.getTargetInfo(path);
    } catch (error) {
      throw fetcher.failure ?? fromTufError(error);
    }
  };
  try {
    return { content: await options.obtain(find, root) };
  } catch (error) {
    if (options.signal?.aborted) return new WardcastError('ABORTED', 'The work was cancelled', { cause: error });
    return toWardcastError(error, 'METADATA_INVALID', 'The targets could not be verified');
  }
}

function toFailure(error: unknown): WardcastError {
  return error instanceof WardcastError ? error : fromTufError(error);
}

/** Intact roots of the old state and the factory's. */
async function knownRoots(factoryRoot: Buffer, store: TrustStore, old: TrustState | undefined): Promise<Map<number, Buffer>> {
  const roots = new Map<number, Buffer>();
  for (const [version, hash] of Object.entries(old?.roots ?? {})) {
    const bytes = await store.object(hash);
    if (bytes !== undefined) roots.set(Number(version), bytes);
  }
  return roots.set(inspectForeign('root', factoryRoot).version, factoryRoot);
}

async function prepare(directory: string, store: TrustStore, old: TrustState | undefined, root: Buffer, rotated: boolean): Promise<string> {
  try {
    await makeDirectory(directory);
    for (const name of await readdir(directory)) {
      if (name.startsWith(WORK)) await rm(join(directory, name), { recursive: true, force: true });
    }
    const folder = await mkdtemp(join(directory, WORK));
    for (const [role, hash] of Object.entries(old?.trusted ?? {})) {
      if (rotated && (role === 'timestamp' || role === 'snapshot')) continue;
      const bytes = await store.object(hash);
      if (bytes !== undefined) await writeFile(join(folder, `${role}.json`), bytes);
    }
    await writeFile(join(folder, 'root.json'), root);
    return folder;
  } catch (cause) {
    throw toWardcastError(cause, 'STORAGE_FAILED', `The folder for signed metadata ${directory} cannot be used`);
  }
}

async function collect(folder: string): Promise<Pick<Trusted, 'roles' | 'versions'>> {
  const roles = new Map<string, Buffer>();
  const versions: Record<string, number> = {};
  for (const name of (await readdir(folder)).sort()) {
    const role = name.slice(0, -'.json'.length);
    const bytes = await readFile(join(folder, name));
    roles.set(role, bytes);
    versions[role] = inspectForeign(role, bytes).version;
  }
  return { roles, versions };
}
