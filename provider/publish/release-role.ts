import { join } from 'node:path';
import { WardcastError } from '../../shared/base/errors.ts';
import { RELEASE_LIFETIME_DAYS } from '../../shared/base/limits.ts';
import { checkSignedBy, releasesIn } from '../../shared/trust/inspect.ts';
import type { Signer } from '../../shared/trust/keys.ts';
import { openSigner } from '../../shared/trust/open-signer.ts';
import { daysFrom } from '../../shared/trust/repository.ts';
import { releaseRole } from '../../shared/trust/roles.ts';
import type { SecretSource } from '../../shared/trust/secret-source.ts';
import { type ReleaseTarget, signRelease as signReleaseRole } from '../../shared/trust/sign.ts';
import { newestRole, writeRole } from './role-files.ts';

export interface SignedRole {
  /** The newest role metadata, with the change. */
  readonly file: string;
  readonly version: number;
  readonly bytes: Buffer;
}

interface RoleOptions {
  /** Holds `metadata/<N>.release-<application>.json`. */
  readonly workspace: string;
  readonly application: string;
  readonly key: Signer;
  readonly now: Date;
}

/**
 * Signs the next version of an application's role with one release more. Idempotent.
 * @throws CONFLICT when that version was signed with other content, METADATA_UNTRUSTED when the role on disk is not this key's
 */
export async function addToRole(options: RoleOptions & { readonly release: ReleaseTarget }): Promise<SignedRole> {
  const { release } = options;
  const { current, releases } = await readRole(options);
  const known = releases.find(({ version }) => version === release.version);
  if (known !== undefined && known.manifest !== release.manifest) {
    throw new WardcastError('CONFLICT', `${options.application} ${release.version} was signed already, with other content (manifest ${known.manifest})`, {
      remedy: 'A version is signed once. Give the new content a new version.',
    });
  }
  if (known !== undefined && current !== undefined) return current;
  return write(options, (current?.version ?? 0) + 1, [...releases, release]);
}

/**
 * Signs the next version of an application's role without one release: no bundle that names it verifies any more.
 * @throws NOT_FOUND when the role does not list it; KEY_UNUSABLE, METADATA_UNTRUSTED, STORAGE_FAILED
 */
export async function withdrawInRole(options: {
  readonly workspace: string;
  readonly application: string;
  readonly version: string;
  /** A key file, an encrypted one, or a token's `pkcs11:` URI. */
  readonly keyFile: string;
  readonly secrets?: SecretSource | undefined;
  readonly now?: Date | undefined;
}): Promise<SignedRole> {
  const role = {
    workspace: options.workspace,
    application: options.application,
    key: await openSigner(options.keyFile, options.secrets),
    now: options.now ?? new Date(),
  };
  const { current, releases } = await readRole(role);
  const rest = releases.filter(({ version }) => version !== options.version);
  if (current === undefined || rest.length === releases.length) {
    throw new WardcastError('NOT_FOUND', `The role of ${options.application} lists no version ${options.version}`, {
      remedy: 'See which versions are signed with `wardcast release list`.',
    });
  }
  return write(role, current.version + 1, rest);
}

/** All releases that the newest role in the workspace lists, in its order. @throws METADATA_UNTRUSTED when it is not this key's */
export async function signedReleases(options: Omit<RoleOptions, 'now'>): Promise<readonly ReleaseTarget[]> {
  return (await readRole(options)).releases;
}

async function readRole(options: Omit<RoleOptions, 'now'>): Promise<{ current: SignedRole | undefined; releases: ReleaseTarget[] }> {
  const role = releaseRole(options.application);
  const folder = join(options.workspace, 'metadata');
  const found = await newestRole(folder, role);
  if (found === undefined) return { current: undefined, releases: [] };
  // Signing anew what somebody slipped into the workspace would make it genuine.
  checkSignedBy(role, found.bytes, options.key);
  return { current: { ...found, file: join(folder, `${found.version}.${role}.json`) }, releases: releasesIn(options.application, found.bytes) };
}

async function write(options: RoleOptions, version: number, releases: readonly ReleaseTarget[]): Promise<SignedRole> {
  const bytes = signReleaseRole({
    version,
    expires: daysFrom(options.now, RELEASE_LIFETIME_DAYS),
    keys: [options.key],
    application: options.application,
    releases,
  });
  const file = await writeRole(join(options.workspace, 'metadata'), releaseRole(options.application), version, bytes);
  return { file, version, bytes };
}
