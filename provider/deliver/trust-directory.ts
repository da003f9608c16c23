import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { toWardcastError, WardcastError } from '../../shared/base/errors.ts';
import type { Signer } from '../../shared/trust/keys.ts';
import { findKey, openSigner } from '../../shared/trust/open-signer.ts';
import type { OnlineKeys } from '../../shared/trust/repository.ts';
import { parseMetadataName } from '../../shared/trust/roles.ts';

/** What the offline ceremony handed to the provider: every root, and the newest targets role. */
export interface OfflineMetadata {
  /** Ascending by version. */
  readonly roots: readonly [Buffer, ...Buffer[]];
  readonly targets: Buffer;
  readonly newestRoot: Buffer;
}

/** Reads `N.root.json` and `N.targets.json` of a folder. @throws METADATA_MISSING */
export async function readOfflineMetadata(directory: string): Promise<OfflineMetadata> {
  let names: string[];
  try {
    names = await readdir(directory);
  } catch (error) {
    throw new WardcastError('METADATA_MISSING', `The trust folder ${directory} cannot be read: ${toWardcastError(error).message}`, { remedy, cause: error });
  }
  const newest = (role: string): string[] =>
    names
      .flatMap((name) => {
        const parsed = parseMetadataName(name);
        return parsed?.role === role && parsed.version !== undefined ? [{ name, version: parsed.version }] : [];
      })
      .sort((a, b) => a.version - b.version)
      .map(({ name }) => name);
  const [first, ...others] = await Promise.all(newest('root').map((name) => readFile(join(directory, name))));
  const targetsName = newest('targets').at(-1);
  if (first === undefined || targetsName === undefined) {
    throw new WardcastError('METADATA_MISSING', `${directory} has no ${first === undefined ? 'root' : 'targets'} metadata`, { remedy });
  }
  return { roots: [first, ...others], targets: await readFile(join(directory, targetsName)), newestRoot: others.at(-1) ?? first };
}

const remedy = 'Copy the `metadata` folder that the key ceremony made (N.root.json, N.targets.json) and name it as `trust` in the configuration.';

/** The keys that sign groups' bundles on this host. Release keys are never here. @throws KEY_UNUSABLE */
export async function readOnlineKeys(directory: string): Promise<OnlineKeys> {
  const openOnline = async (name: string): Promise<Signer> => openSigner(await findKey(directory, name));
  const [assignment, snapshot, timestamp] = await Promise.all([openOnline('assignment'), openOnline('snapshot'), openOnline('timestamp')]);
  return { assignment, snapshot, timestamp };
}
