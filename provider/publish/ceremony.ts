import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { systemCode, WardcastError } from '../../shared/base/errors.ts';
import { isId } from '../../shared/base/identity.ts';
import { ROOT_KEYS, ROOT_LIFETIME_DAYS, ROOT_THRESHOLD, TARGETS_LIFETIME_DAYS } from '../../shared/base/limits.ts';
import { makeDirectory } from '../../shared/store/durable-file.ts';
import { encryptKey } from '../../shared/trust/encrypted-key.ts';
import { checkSignedBy, delegationsIn } from '../../shared/trust/inspect.ts';
import { createSigningKey, type SigningKey, type VerificationKey, writeKeyFile, writeSigningKey } from '../../shared/trust/keys.ts';
import { findKey, openSigner, publicOf } from '../../shared/trust/open-signer.ts';
import { daysFrom } from '../../shared/trust/repository.ts';
import { releaseRole } from '../../shared/trust/roles.ts';
import type { SecretSource } from '../../shared/trust/secret-source.ts';
import { type KeyRole, signRoot, signTargets } from '../../shared/trust/sign.ts';
import { newestRole, type RoleFile, writeRole } from './role-files.ts';

/**
 * Where a ceremony puts things. `keys/offline` never goes to a host with a network; `keys/online` and `metadata` go to the provider;
 * `metadata/1.root.json` also to every gateway and device, as their factory root.
 */
export function ceremonyLayout(directory: string): { readonly offline: string; readonly online: string; readonly metadata: string } {
  return { offline: join(directory, 'keys', 'offline'), online: join(directory, 'keys', 'online'), metadata: join(directory, 'metadata') };
}

export interface Ceremony {
  /** The files written. */
  readonly root: string;
  readonly targets: string;
}

/**
 * Makes all signing keys and the first root and targets metadata. Power cut: nothing is usable before `1.root.json`, which is written last;
 * remove the folder and begin again.
 * @throws CONFLICT when the folder holds keys already, USAGE, STORAGE_FAILED
 */
export async function createKeys(options: {
  readonly directory: string;
  readonly applications: readonly string[];
  /** Puts the offline keys under it; online keys stay plain, for the provider starts without anybody to ask. */
  readonly passphrase?: Buffer | undefined;
  readonly now?: Date;
}): Promise<Ceremony> {
  const now = options.now ?? new Date();
  const layout = ceremonyLayout(options.directory);
  options.applications.forEach(checkApplication);
  await refuseUsed(layout);
  for (const folder of [layout.offline, layout.online]) await makeDirectory(folder, 0o700);
  await makeDirectory(layout.metadata);
  const create = async (folder: string, name: string): Promise<SigningKey> => {
    const key = await createSigningKey();
    if (options.passphrase === undefined || folder !== layout.offline) await writeSigningKey(join(folder, `${name}.pem`), key);
    else await writeKeyFile(join(folder, `${name}.key`), await encryptKey(key, options.passphrase));
    return key;
  };
  const rootKeys: SigningKey[] = [];
  for (let n = 1; n <= ROOT_KEYS; n++) rootKeys.push(await create(layout.offline, `root-${n}`));
  const targetsKey = await create(layout.offline, 'targets');
  const applications = new Map<string, KeyRole>();
  for (const application of new Set(options.applications)) {
    applications.set(application, single(await create(layout.offline, releaseRole(application))));
  }
  const assignment = single(await create(layout.online, 'assignment'));
  const snapshot = single(await create(layout.online, 'snapshot'));
  const timestamp = single(await create(layout.online, 'timestamp'));
  const targets = signTargets({ version: 1, expires: daysFrom(now, TARGETS_LIFETIME_DAYS), keys: [targetsKey], assignment, applications });
  const root = signRoot({
    version: 1,
    expires: daysFrom(now, ROOT_LIFETIME_DAYS),
    keys: rootKeys.slice(0, ROOT_THRESHOLD),
    roles: { root: { keys: rootKeys, threshold: ROOT_THRESHOLD }, targets: single(targetsKey), snapshot, timestamp },
  });
  const targetsFile = await writeRole(layout.metadata, 'targets', 1, targets);
  return { targets: targetsFile, root: await writeRole(layout.metadata, 'root', 1, root) };
}

/**
 * Lets an application release: a key for it if it has none yet, and the next version of targets with a delegation to that key. Idempotent.
 * @throws NOT_FOUND without a ceremony, KEY_UNUSABLE, METADATA_UNTRUSTED, STORAGE_FAILED
 */
export async function delegateApplication(options: {
  readonly directory: string;
  readonly application: string;
  readonly secrets?: SecretSource | undefined;
  readonly now?: Date;
}): Promise<{
  readonly targets: string;
  readonly version: number;
}> {
  checkApplication(options.application);
  const layout = ceremonyLayout(options.directory);
  const targetsKey = await openSigner(await findKey(layout.offline, 'targets'), options.secrets);
  const current = await newestTargets(layout.metadata);
  checkSignedBy('targets', current.bytes, targetsKey);
  const { assignment, applications } = delegationsIn(current.bytes);
  const key = await applicationKey(layout.offline, releaseRole(options.application));
  const known = applications.get(options.application);
  const version = current.version + 1;
  if (known?.keys.some(({ keyId }) => keyId === key.keyId))
    return { targets: join(layout.metadata, `${current.version}.targets.json`), version: current.version };
  applications.set(options.application, single(key));
  const bytes = signTargets({ version, expires: daysFrom(options.now ?? new Date(), TARGETS_LIFETIME_DAYS), keys: [targetsKey], assignment, applications });
  return { targets: await writeRole(layout.metadata, 'targets', version, bytes), version };
}

/**
 * Names another assignment key in the next version of targets: the old one, which may be stolen, counts no more. Idempotent.
 * @param options.key the public half; the private one belongs on the provider
 * @throws NOT_FOUND without a ceremony, KEY_UNUSABLE, METADATA_UNTRUSTED, STORAGE_FAILED
 */
export async function replaceAssignment(options: {
  readonly directory: string;
  readonly key: VerificationKey;
  readonly secrets?: SecretSource | undefined;
  readonly now?: Date;
}): Promise<{ readonly targets: string; readonly version: number }> {
  const layout = ceremonyLayout(options.directory);
  const targetsKey = await openSigner(await findKey(layout.offline, 'targets'), options.secrets);
  const current = await newestTargets(layout.metadata);
  checkSignedBy('targets', current.bytes, targetsKey);
  const { assignment, applications } = delegationsIn(current.bytes);
  if (assignment.keys.length === 1 && assignment.keys[0]?.keyId === options.key.keyId)
    return { targets: join(layout.metadata, `${current.version}.targets.json`), version: current.version };
  const version = current.version + 1;
  const expires = daysFrom(options.now ?? new Date(), TARGETS_LIFETIME_DAYS);
  const bytes = signTargets({ version, expires, keys: [targetsKey], assignment: single(options.key), applications });
  return { targets: await writeRole(layout.metadata, 'targets', version, bytes), version };
}

async function newestTargets(metadata: string): Promise<RoleFile> {
  const current = await newestRole(metadata, 'targets');
  if (current !== undefined) return current;
  throw new WardcastError('NOT_FOUND', `There is no targets metadata in ${metadata}`, { remedy: 'Make the keys first: `wardcast keys create`.' });
}

/** The key of a run that was cut short is used on, and one that was put there beforehand: encrypted, or in a token. */
async function applicationKey(folder: string, name: string): Promise<VerificationKey> {
  const file = await findKey(folder, name);
  if (!file.endsWith('.pem')) return publicOf(file);
  const key = await createSigningKey();
  try {
    await writeSigningKey(file, key);
    return key;
  } catch (error) {
    if (error instanceof WardcastError && error.code === 'CONFLICT') return publicOf(file);
    throw error;
  }
}

async function refuseUsed(layout: ReturnType<typeof ceremonyLayout>): Promise<void> {
  for (const folder of [layout.offline, layout.online, layout.metadata]) {
    try {
      if ((await readdir(folder)).length === 0) continue;
    } catch (error) {
      if (systemCode(error) === 'ENOENT') continue;
      throw new WardcastError('STORAGE_FAILED', `${folder} could not be read`, { cause: error });
    }
    throw new WardcastError('CONFLICT', `${folder} is not empty`, { remedy: 'Choose a new folder: keys are made once and never overwritten.' });
  }
}

function checkApplication(application: string): void {
  if (!isId(application)) {
    throw new WardcastError('USAGE', `${JSON.stringify(application.slice(0, 100))} is no name for an application`, {
      remedy: 'Use a–z, 0–9 and inner hyphens, at most 63 characters.',
    });
  }
}

function single(key: VerificationKey): KeyRole {
  return { keys: [key], threshold: 1 };
}
