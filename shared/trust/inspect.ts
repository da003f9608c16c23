import './tuf-models.ts';
import { Metadata, MetadataKind, type Root, type Targets } from '@tufjs/models';
import { toWardcastError, WardcastError } from '../base/errors.ts';
import { canonicalJson } from '../bundle/canonical.ts';
import { isSha256 } from '../bundle/digest.ts';
import { compareVersions, isVersion } from '../bundle/version.ts';
import { tufKey, type VerificationKey, verificationKey } from './keys.ts';
import { ASSIGNMENT, applicationOf, maxMetadata, releaseRole, releaseTarget, SCOPE_FIELD } from './roles.ts';
import type { KeyRole, ReleaseTarget } from './sign.ts';

/** What metadata says about itself, before anybody has verified it. */
export interface MetadataInfo {
  readonly version: number;
  readonly expires: Date;
  /** `customer/site/group` for metadata of one group. */
  readonly scope: string | undefined;
}

/** @throws METADATA_INVALID unless it is canonical JSON with version and expiry; LIMIT_EXCEEDED */
export function inspectMetadata(role: string, bytes: Buffer): MetadataInfo {
  return infoOf(role, parseCanonical(role, bytes));
}

/** The same for metadata of any TUF repository, whose JSON need not be canonical. @throws METADATA_INVALID, LIMIT_EXCEEDED */
export function inspectForeign(role: string, bytes: Buffer): MetadataInfo {
  checkSize(role, bytes);
  try {
    return infoOf(role, JSON.parse(bytes.toString('utf8')));
  } catch (cause) {
    throw toWardcastError(cause, 'METADATA_INVALID', `The ${role} metadata is no JSON`);
  }
}

function infoOf(role: string, value: unknown): MetadataInfo {
  const signed = member(value, 'signed');
  const version = member(signed, 'version');
  const expires = member(signed, 'expires');
  const scope = member(signed, SCOPE_FIELD);
  const numbered = typeof version === 'number' && Number.isSafeInteger(version) && version >= 1;
  if (!numbered || typeof expires !== 'string' || !/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$/.test(expires)) {
    throw new WardcastError('METADATA_INVALID', `The ${role} metadata has no version or no expiry date`);
  }
  const date = new Date(expires);
  // An unreadable date would never be past: tuf-js would take such metadata as valid for ever.
  if (Number.isNaN(date.getTime())) throw new WardcastError('METADATA_INVALID', `The ${role} metadata has no possible expiry date`);
  checkNames(role, signed);
  return { version, expires: date, scope: typeof scope === 'string' ? scope : undefined };
}

/** tuf-js looks names up in plain objects, where `constructor` and its like are always found: such a role would be passed over unverified. */
function checkNames(role: string, signed: unknown): void {
  const roles = member(member(signed, 'delegations'), 'roles');
  for (const delegated of Array.isArray(roles) ? roles : []) {
    const name = member(delegated, 'name');
    if (typeof name === 'string' && name in Object.prototype) {
      throw new WardcastError('METADATA_INVALID', `The ${role} metadata delegates to a role named ${JSON.stringify(name)}`);
    }
  }
}

/** The releases that a release role lists, oldest version first. Unverified: see verifyReleaseRole. @throws METADATA_INVALID, LIMIT_EXCEEDED */
export function releasesIn(application: string, role: Buffer): ReleaseTarget[] {
  const { signed } = parseTargets(releaseRole(application), role);
  const prefix = releaseTarget(application, '');
  const releases = Object.values(signed.targets).map(({ path, length, hashes }) => {
    const version = path.startsWith(prefix) ? path.slice(prefix.length) : '';
    const manifest = hashes['sha256'] ?? '';
    if (!isVersion(version) || !isSha256(manifest)) {
      throw new WardcastError('METADATA_INVALID', `The role of ${application} lists ${JSON.stringify(path.slice(0, 200))}, which is no release of it`);
    }
    return { version, manifest, size: length };
  });
  return releases.sort((a, b) => compareVersions(a.version, b.version));
}

/**
 * The releases of a role that is genuine as of now: signed by the keys that `targets` (itself signed as `root` says) delegates to, and not expired.
 * For the provider, which takes such a role from whoever may publish; devices verify again by themselves.
 * @throws METADATA_INVALID, METADATA_UNTRUSTED, METADATA_EXPIRED, LIMIT_EXCEEDED
 */
export function verifyReleaseRole(options: { root: Buffer; targets: Buffer; application: string; role: Buffer; now: Date }): ReleaseTarget[] {
  const name = releaseRole(options.application);
  const targets = parseTargets('targets', options.targets);
  const role = parseTargets(name, options.role);
  try {
    const root = Metadata.fromJSON(MetadataKind.Root, record(parseCanonical('root', options.root)));
    root.verifyDelegate('root', root);
    root.verifyDelegate('targets', targets);
    targets.verifyDelegate(name, role);
  } catch (cause) {
    throw new WardcastError('METADATA_UNTRUSTED', `The ${name} metadata is not signed by the keys that the targets role names for it`, {
      cause,
      remedy: `Sign it with the current key of ${options.application}; a new application is delegated to first.`,
    });
  }
  if (role.signed.isExpired(options.now)) throw new WardcastError('METADATA_EXPIRED', `The ${name} metadata expired at ${role.signed.expires}`);
  return releasesIn(options.application, options.role);
}

/**
 * Whether targets metadata (`targets` or a release role) carries a valid signature of this key.
 * @throws METADATA_INVALID, LIMIT_EXCEEDED, METADATA_UNTRUSTED when it does not
 */
export function checkSignedBy(role: string, bytes: Buffer, key: VerificationKey): void {
  const metadata = parseTargets(role, bytes);
  try {
    tufKey(key).verifySignature(metadata);
  } catch (cause) {
    throw new WardcastError('METADATA_UNTRUSTED', `The ${role} metadata is not signed by the key ${key.keyId}`, { cause });
  }
}

/** What root metadata says, before anybody has verified it. @throws METADATA_INVALID, LIMIT_EXCEEDED */
export function parseRoot(bytes: Buffer): Metadata<Root> {
  inspectForeign('root', bytes);
  try {
    return Metadata.fromJSON(MetadataKind.Root, record(JSON.parse(bytes.toString('utf8'))));
  } catch (cause) {
    throw toWardcastError(cause, 'METADATA_INVALID', 'The root metadata is malformed');
  }
}

/** To whom targets metadata delegates. @throws METADATA_INVALID, LIMIT_EXCEEDED */
export function delegationsIn(targets: Buffer): { readonly assignment: KeyRole; readonly applications: Map<string, KeyRole> } {
  const { delegations } = parseTargets('targets', targets).signed;
  const applications = new Map<string, KeyRole>();
  let assignment: KeyRole | undefined;
  for (const role of Object.values(delegations?.roles ?? {})) {
    const keys = role.keyIDs.map((id) => verificationKey(delegations?.keys[id]?.keyVal['public'] ?? ''));
    const application = applicationOf(role.name);
    if (application !== undefined) applications.set(application, { keys, threshold: role.threshold });
    else if (role.name === ASSIGNMENT) assignment = { keys, threshold: role.threshold };
  }
  if (assignment === undefined) throw new WardcastError('METADATA_INVALID', 'The targets metadata delegates to no assignment role');
  return { assignment, applications };
}

function parseTargets(role: string, bytes: Buffer): Metadata<Targets> {
  inspectMetadata(role, bytes);
  try {
    return Metadata.fromJSON(MetadataKind.Targets, record(parseCanonical(role, bytes)));
  } catch (cause) {
    throw toWardcastError(cause, 'METADATA_INVALID', `The ${role} metadata is malformed`);
  }
}

/**
 * Ours is always canonical, so nothing else is accepted: no bytes that two parsers read differently.
 * @throws METADATA_INVALID, LIMIT_EXCEEDED
 */
function parseCanonical(role: string, bytes: Buffer): unknown {
  checkSize(role, bytes);
  let value: unknown;
  let again: Buffer;
  try {
    value = JSON.parse(bytes.toString('utf8'));
    again = canonicalJson(value);
  } catch (cause) {
    throw new WardcastError('METADATA_INVALID', `The ${role} metadata is no canonical JSON`, { cause });
  }
  if (!again.equals(bytes)) throw new WardcastError('METADATA_INVALID', `The ${role} metadata is no canonical JSON`);
  return value;
}

function checkSize(role: string, bytes: Buffer): void {
  if (bytes.length > maxMetadata(role)) {
    throw new WardcastError('LIMIT_EXCEEDED', `The ${role} metadata has ${bytes.length} bytes, more than the ${maxMetadata(role)} that are allowed`);
  }
}

function member(value: unknown, key: string): unknown {
  return typeof value === 'object' && value !== null && Object.hasOwn(value, key) ? Reflect.get(value, key) : undefined;
}

function record(value: unknown): Parameters<typeof Metadata.fromJSON>[1] {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) throw new TypeError('no object');
  return Object.fromEntries(Object.entries(value));
}
