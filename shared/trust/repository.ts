import { WardcastError } from '../base/errors.ts';
import type { Scope } from '../base/identity.ts';
import { ASSIGNMENT_LIFETIME_DAYS, SNAPSHOT_LIFETIME_DAYS, TIMESTAMP_LIFETIME_DAYS } from '../base/limits.ts';
import { type Bundle, printBundle } from '../bundle/bundle.ts';
import { sha256 } from '../bundle/digest.ts';
import { inspectMetadata } from './inspect.ts';
import type { Signer } from './keys.ts';
import { ASSIGNMENT, metadataName, releaseRole } from './roles.ts';
import { type MetaEntry, signAssignment, signSnapshot, signTimestamp } from './sign.ts';

/** Where a group's repository stands: plain JSON, to be stored by the provider with the bundle. */
export interface GroupVersions {
  readonly assignment: number;
  readonly snapshot: MetaEntry;
  readonly timestamp: number;
  /** What the snapshot lists, by file name without version. */
  readonly meta: Readonly<Record<string, MetaEntry>>;
}

export interface OnlineKeys {
  readonly assignment: Signer;
  readonly snapshot: Signer;
  readonly timestamp: Signer;
}

export interface GroupRepository {
  /** Metadata by name. */
  readonly files: Map<string, Buffer>;
  /** The bundle by its sha256. */
  readonly targets: Map<string, Buffer>;
  readonly versions: GroupVersions;
}

export interface GroupInput {
  /** Undefined: the first bundle of this group. */
  readonly previous?: GroupVersions | undefined;
  readonly bundle: Bundle;
  /** All versions of root, in any order. */
  readonly root: readonly Buffer[];
  readonly targets: Buffer;
  /** By application: the role of every application that the bundle names; more are allowed. */
  readonly releaseRoles: ReadonlyMap<string, Buffer>;
  readonly keys: OnlineKeys;
  readonly now: Date;
}

/**
 * The next version of a group's repository, pure: assignment, snapshot and timestamp are signed, the rest is passed on. Also the way to renew
 * an assignment or a snapshot before it expires: the same bundle again.
 * @throws METADATA_ROLLBACK when a role is older than the one of `previous`; METADATA_MISSING when the bundle names an application without a role
 */
export function buildGroupRepository(input: GroupInput): GroupRepository {
  const { previous, bundle, keys, now } = input;
  const bundleBytes = printBundle(bundle);
  const bundleHash = sha256(bundleBytes);
  const files = new Map<string, Buffer>();
  // TUF clients refuse a snapshot from which a file is gone (5.5.5), hence what was listed stays listed.
  const meta: Record<string, MetaEntry> = { ...previous?.meta };
  const list = (role: string, bytes: Buffer): void => {
    const { version } = inspectMetadata(role, bytes);
    const known = meta[`${role}.json`];
    if (known !== undefined && known.version > version) {
      throw new WardcastError('METADATA_ROLLBACK', `The ${role} metadata is version ${version}, but ${known.version} was delivered already`);
    }
    meta[`${role}.json`] = metaEntry(version, bytes);
    files.set(metadataName(role, version), bytes);
  };
  for (const root of input.root) files.set(metadataName('root', inspectMetadata('root', root).version), root);
  list('targets', input.targets);
  for (const { application } of bundle.releases) {
    if (!input.releaseRoles.has(application)) throw new WardcastError('METADATA_MISSING', `The bundle names ${application}, whose release role is missing`);
  }
  for (const [application, role] of input.releaseRoles) list(releaseRole(application), role);
  const scope = { customer: bundle.customer, site: bundle.site, group: bundle.group };
  const assignment = (previous?.assignment ?? 0) + 1;
  list(
    ASSIGNMENT,
    signAssignment({
      version: assignment,
      expires: daysFrom(now, ASSIGNMENT_LIFETIME_DAYS),
      keys: [keys.assignment],
      scope,
      bundle: { sha256: bundleHash, size: bundleBytes.length },
    }),
  );
  const snapshotVersion = (previous?.snapshot.version ?? 0) + 1;
  const snapshotBytes = signSnapshot({ version: snapshotVersion, expires: daysFrom(now, SNAPSHOT_LIFETIME_DAYS), keys: [keys.snapshot], scope, meta });
  files.set(metadataName('snapshot', snapshotVersion), snapshotBytes);
  const snapshot = metaEntry(snapshotVersion, snapshotBytes);
  const stamped = stamp({ scope, snapshot, version: (previous?.timestamp ?? 0) + 1, key: keys.timestamp, now });
  files.set('timestamp.json', stamped);
  return {
    files,
    targets: new Map([[bundleHash, bundleBytes]]),
    versions: { assignment, snapshot, timestamp: (previous?.timestamp ?? 0) + 1, meta },
  };
}

/** The same content stays valid for longer: same snapshot, next timestamp. Pure. */
export function renewTimestamp(input: { readonly scope: Scope; readonly previous: GroupVersions; readonly key: Signer; readonly now: Date }): {
  readonly file: Buffer;
  readonly versions: GroupVersions;
} {
  const version = input.previous.timestamp + 1;
  const file = stamp({ scope: input.scope, snapshot: input.previous.snapshot, version, key: input.key, now: input.now });
  return { file, versions: { ...input.previous, timestamp: version } };
}

function stamp(o: { scope: Scope; snapshot: MetaEntry; version: number; key: Signer; now: Date }): Buffer {
  return signTimestamp({ version: o.version, expires: daysFrom(o.now, TIMESTAMP_LIFETIME_DAYS), keys: [o.key], scope: o.scope, snapshot: o.snapshot });
}

function metaEntry(version: number, bytes: Buffer): MetaEntry {
  return { version, length: bytes.length, sha256: sha256(bytes) };
}

export function daysFrom(now: Date, days: number): Date {
  return new Date(now.getTime() + days * 86_400_000);
}
