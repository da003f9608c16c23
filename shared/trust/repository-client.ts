import { readdir, readFile, rm } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import type { Metadata, Root } from '@tufjs/models';
import { systemCode, WardcastError } from '../base/errors.ts';
import { type Log, silentLog } from '../base/log.ts';
import { canonicalJson } from '../bundle/canonical.ts';
import { makeDirectory, writeDurably } from '../store/durable-file.ts';
import { parseRoot } from './inspect.ts';
import { anyRepository } from './metadata-policy.ts';
import type { MetadataSource } from './metadata-source.ts';
import { serially } from './serially.ts';
import { keepWhatVerified, nextState, startingPoint } from './trust-state.ts';
import { type TrustState, TrustStore } from './trust-store.ts';
import { fromTufError } from './tuf-errors.ts';
import { type TargetSearch, updateTrusted } from './tuf-update.ts';

/** Below the metadata folder: the store that counts; the `<role>.json` next to it are copies for people and other tools. */
const STORE = '.wardcast';
const FACTORY_ROOT = 'factory-root.json';
const SCOPE = 'tuf-client';

/**
 * Makes a root the beginning of trust in a metadata folder. Again with the same root it changes nothing.
 * @throws METADATA_INVALID, METADATA_UNTRUSTED when the root does not carry its own threshold of signatures; STORAGE_FAILED
 */
export function initRepository(directory: string, root: Buffer): Promise<void> {
  return serially(resolve(directory), async () => {
    const metadata = parseRoot(root);
    try {
      metadata.verifyDelegate('root', metadata);
    } catch (error) {
      throw fromTufError(error);
    }
    await makeDirectory(join(directory, STORE));
    await writeDurably(join(directory, STORE, FACTORY_ROOT), root);
    await exportTo(directory, new TrustStore(join(directory, STORE), silentLog), root);
  });
}

export interface RepositoryOptions<C> {
  readonly directory: string;
  readonly source: Pick<MetadataSource, 'metadata'>;
  readonly log: Log;
  readonly signal?: AbortSignal | undefined;
  /** What to do once the top-level metadata is verified. */
  readonly obtain: (find: TargetSearch, root: { readonly consistentSnapshot: boolean }) => Promise<C>;
}

/**
 * Brings the trusted metadata of any TUF repository up to date by the code that groups' repositories are verified with; only the policy differs.
 * Killed at any instant it leaves the old or the new state; the copies follow at the next call.
 * @throws METADATA_*, LIMIT_EXCEEDED, STORAGE_FAILED, ABORTED, and what `obtain` throws
 */
export function refreshRepository<C>(options: RepositoryOptions<C>): Promise<C> {
  return serially(resolve(options.directory), async () => {
    const directory = join(options.directory, STORE);
    const store = new TrustStore(directory, options.log);
    const factoryRoot = await readFactory(directory);
    const anchor = { scope: SCOPE, factoryRoot };
    const { old, floors } = await startingPoint(store, { ...anchor, log: options.log });
    const { source, signal } = options;
    const obtain = (find: TargetSearch, root: Metadata<Root>): Promise<C> => options.obtain(find, root.signed);
    const { trusted, content, failure } = await updateTrusted(
      { directory, factoryRoot, source, policy: anyRepository, signal, now: new Date(), obtain },
      store,
      old,
      floors,
    );
    const state: TrustState | undefined = trusted === undefined ? undefined : { ...nextState(anchor, floors, trusted), view: null };
    if (state !== undefined && trusted !== undefined) {
      if (failure !== undefined) await keepWhatVerified(store, old, state, trusted, options.log);
      else if (store.damaged || old === undefined || !canonicalJson(old).equals(canonicalJson(state))) {
        await store.commit(state, [...trusted.roots.values(), ...trusted.roles.values()]);
      }
    }
    await exportTo(options.directory, store, factoryRoot);
    if (failure !== undefined) throw failure;
    return content;
  });
}

async function readFactory(directory: string): Promise<Buffer> {
  try {
    return await readFile(join(directory, FACTORY_ROOT));
  } catch (cause) {
    if (systemCode(cause) !== 'ENOENT') throw new WardcastError('STORAGE_FAILED', `The trusted root in ${directory} cannot be read`, { cause });
    throw new WardcastError('METADATA_MISSING', `No trusted root is known in ${directory}`, { cause, remedy: 'Begin with `init ROOT_FILE`.' });
  }
}

/** `<role>.json` of what is trusted now, and none else. */
async function exportTo(directory: string, store: TrustStore, factoryRoot: Buffer): Promise<void> {
  const state = await store.load();
  const files = new Map<string, Buffer>([['root.json', factoryRoot]]);
  for (const [role, hash] of Object.entries(state?.trusted ?? {})) {
    const bytes = await store.object(hash);
    if (bytes !== undefined) files.set(`${role}.json`, bytes);
  }
  for (const [name, bytes] of files) {
    const present = await readFile(join(directory, name)).catch(() => undefined);
    if (present === undefined || !bytes.equals(present)) await writeDurably(join(directory, name), bytes);
  }
  for (const name of await readdir(directory)) if (name.endsWith('.json') && !files.has(name)) await rm(join(directory, name), { force: true });
}
