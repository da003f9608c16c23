import { readFile } from 'node:fs/promises';
import path from 'node:path';
import { contentKeysOf } from '../provider/publish/packing.ts';
import { newestRole } from '../provider/publish/role-files.ts';
import { systemCode, WardcastError } from '../shared/base/errors.ts';
import { sha256 } from '../shared/bundle/digest.ts';
import { parseManifest } from '../shared/bundle/manifest.ts';
import { releasesIn } from '../shared/trust/inspect.ts';
import { releaseRole } from '../shared/trust/roles.ts';

/** A signed release as `release sign` left it in a workspace, ready to be published. */
export interface ReadyRelease {
  readonly application: string;
  readonly version: string;
  /** sha256 of the manifest. */
  readonly manifest: string;
  /** The newest `release-<application>` metadata. */
  readonly role: Buffer;
  /** Of an encrypted release: what opens it, for the provider's eyes alone. */
  readonly contentKeys: readonly Buffer[];
  /** The bytes of an object of this workspace, verified against its hash. @throws NOT_FOUND, HASH_MISMATCH, STORAGE_FAILED */
  object(hash: string): Promise<Buffer>;
}

/** @throws NOT_FOUND when the release was not signed in this workspace */
export async function readSignedRelease(workspace: string, application: string, version: string): Promise<ReadyRelease> {
  const role = await newestRole(path.join(workspace, 'metadata'), releaseRole(application));
  const found = role === undefined ? undefined : releasesIn(application, role.bytes).find((release) => release.version === version);
  if (role === undefined || found === undefined) {
    throw new WardcastError('NOT_FOUND', `${application} ${version} is not signed in ${workspace}`, {
      remedy: `Sign it first: wardcast release sign FOLDER ${application}@${version} --workspace ${workspace} --keys DIR`,
    });
  }
  const { manifest } = found;
  const object = async (hash: string): Promise<Buffer> => {
    const bytes = await read(hash === manifest ? path.join(workspace, 'manifests', `${hash}.json`) : path.join(workspace, 'chunks', hash.slice(0, 2), hash));
    if (sha256(bytes) === hash) return bytes;
    throw new WardcastError('HASH_MISMATCH', `Object ${hash} in ${workspace} was altered after it was signed`, {
      remedy: 'Sign the release again in a fresh workspace.',
    });
  };
  const contentKeys = [...(await contentKeysOf(workspace, parseManifest(await object(manifest)))).values()];
  return { application, version, manifest, role: role.bytes, contentKeys, object };
}

async function read(file: string): Promise<Buffer> {
  try {
    return await readFile(file);
  } catch (error) {
    const missing = systemCode(error) === 'ENOENT';
    throw new WardcastError(missing ? 'NOT_FOUND' : 'STORAGE_FAILED', `${file} cannot be read: ${systemCode(error) ?? String(error)}`, { cause: error });
  }
}
