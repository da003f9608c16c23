import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { Updater } from 'tuf-js';
import { toWardcastError, WardcastError } from '../base/errors.ts';
import type { Scope } from '../base/identity.ts';
import { MAX_ROOT_METADATA, MAX_SNAPSHOT_METADATA, MAX_TARGETS_METADATA, MAX_TIMESTAMP_METADATA } from '../base/limits.ts';
import type { Log } from '../base/log.ts';
import { makeDirectory } from '../store/durable-file.ts';
import { type TargetLookup, type VerifiedContent, verifyContent } from './group-view.ts';
import { inspectMetadata } from './inspect.ts';
import type { MetadataSource } from './metadata-source.ts';
import type { TrustState, TrustStore } from './trust-store.ts';
import { fromTufError } from './tuf-errors.ts';
import { METADATA_BASE_URL, SourceFetcher } from './tuf-fetcher.ts';

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
}

/** What is verified after an update, whether or not it reached its end. */
export interface Trusted {
  /** Metadata by role, as tuf-js keeps it. */
  readonly roles: ReadonlyMap<string, Buffer>;
  readonly versions: Readonly<Record<string, number>>;
  /** All versions of root in the chain. */
  readonly roots: ReadonlyMap<number, Buffer>;
}

export type Update =
  | { readonly trusted: Trusted; readonly content: VerifiedContent; readonly failure: undefined }
  | { readonly trusted: Trusted; readonly content: undefined; readonly failure: WardcastError };

const CONFIG = {
  rootMaxLength: MAX_ROOT_METADATA,
  timestampMaxLength: MAX_TIMESTAMP_METADATA,
  snapshotMaxLength: MAX_SNAPSHOT_METADATA,
  targetsMaxLength: MAX_TARGETS_METADATA,
};
const WORK = 'work-';

/**
 * Runs tuf-js in a folder of its own, filled from `old`: it writes its files neither whole nor synced, so its folder never is the truth.
 * @throws STORAGE_FAILED; everything else is in `failure`
 */
export async function updateTrusted(options: RefreshOptions, store: TrustStore, old: TrustState | undefined): Promise<Update> {
  const roots = await knownRoots(options, store, old);
  const folder = await prepare(options, store, old, roots);
  const fetcher = new SourceFetcher(options.source, options.scope, options.signal);
  try {
    const outcome = await run(options, store, folder, fetcher);
    const trusted = await collect(folder, roots, fetcher.roots);
    const back = goneBack(old, trusted);
    // Only possible when local files were damaged: then the recorded versions are all that stands against a replay.
    if (back !== undefined && old !== undefined) return { trusted: await asBefore(store, old, roots), content: undefined, failure: back };
    return outcome instanceof WardcastError ? { trusted, content: undefined, failure: outcome } : { trusted, content: outcome, failure: undefined };
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

async function run(options: RefreshOptions, store: TrustStore, folder: string, fetcher: SourceFetcher): Promise<VerifiedContent | WardcastError> {
  let updater: Updater;
  try {
    updater = new Updater({ metadataDir: folder, metadataBaseUrl: METADATA_BASE_URL, fetcher, config: CONFIG });
    await updater.refresh();
  } catch (error) {
    return fetcher.failure ?? fromTufError(error);
  }
  const lookup: TargetLookup = async (path) => {
    try {
      const info = await updater.getTargetInfo(path);
      const sha256 = info?.hashes['sha256'];
      return info === undefined || sha256 === undefined ? undefined : { sha256, length: info.length };
    } catch (error) {
      throw fetcher.failure ?? fromTufError(error);
    }
  };
  try {
    return await verifyContent({
      scope: options.scope,
      lookup,
      stored: (hash) => store.object(hash),
      source: options.source,
      signal: options.signal,
      highest: options.highest ?? 0,
    });
  } catch (error) {
    if (options.signal?.aborted) return new WardcastError('ABORTED', 'The work was cancelled', { cause: error });
    return toWardcastError(error, 'METADATA_INVALID', 'The bundle could not be verified');
  }
}

/** Intact roots of the old state and the factory's. */
async function knownRoots(options: RefreshOptions, store: TrustStore, old: TrustState | undefined): Promise<Map<number, Buffer>> {
  const roots = new Map<number, Buffer>();
  for (const [version, hash] of Object.entries(old?.roots ?? {})) {
    const bytes = await store.object(hash);
    if (bytes !== undefined) roots.set(Number(version), bytes);
  }
  return roots.set(inspectMetadata('root', options.factoryRoot).version, options.factoryRoot);
}

async function prepare(options: RefreshOptions, store: TrustStore, old: TrustState | undefined, roots: ReadonlyMap<number, Buffer>): Promise<string> {
  try {
    await makeDirectory(options.directory);
    for (const name of await readdir(options.directory)) {
      if (name.startsWith(WORK)) await rm(join(options.directory, name), { recursive: true, force: true });
    }
    const folder = await mkdtemp(join(options.directory, WORK));
    for (const [role, hash] of Object.entries(old?.trusted ?? {})) {
      const bytes = await store.object(hash);
      if (bytes !== undefined) await writeFile(join(folder, `${role}.json`), bytes);
    }
    // The newest of the chain; with the local copy damaged, the newest that is left, at worst the factory's.
    const newest = roots.get(Math.max(...roots.keys()));
    await writeFile(join(folder, 'root.json'), newest ?? options.factoryRoot);
    return folder;
  } catch (cause) {
    throw toWardcastError(cause, 'STORAGE_FAILED', `The folder for signed metadata ${options.directory} cannot be used`);
  }
}

async function collect(folder: string, before: ReadonlyMap<number, Buffer>, fetched: ReadonlyMap<number, Buffer>): Promise<Trusted> {
  const roles = new Map<string, Buffer>();
  const versions: Record<string, number> = {};
  for (const name of (await readdir(folder)).sort()) {
    const role = name.slice(0, -'.json'.length);
    const bytes = await readFile(join(folder, name));
    roles.set(role, bytes);
    versions[role] = inspectMetadata(role, bytes).version;
  }
  const roots = new Map(before);
  // A fetched root beyond the one in the folder was refused.
  for (const [version, bytes] of fetched) if (version <= (versions['root'] ?? 0)) roots.set(version, bytes);
  return { roles, versions, roots };
}

/** A recorded version that would be lowered. A newer root may lower the others: that is how a stolen online key is recovered from (5.3.11). */
function goneBack(old: TrustState | undefined, trusted: Trusted): WardcastError | undefined {
  if (old === undefined || (trusted.versions['root'] ?? 0) > (old.versions['root'] ?? 0)) return undefined;
  for (const [role, version] of Object.entries(trusted.versions)) {
    const floor = old.versions[role] ?? 0;
    if (version < floor) {
      return new WardcastError('METADATA_ROLLBACK', `The ${role} metadata has version ${version}, but ${floor} was trusted already`);
    }
  }
  return undefined;
}

async function asBefore(store: TrustStore, old: TrustState, roots: ReadonlyMap<number, Buffer>): Promise<Trusted> {
  const roles = new Map<string, Buffer>();
  for (const [role, hash] of Object.entries(old.trusted)) {
    const bytes = await store.object(hash);
    if (bytes !== undefined) roles.set(role, bytes);
  }
  return { roles, versions: old.versions, roots };
}
