import type { Scope } from '../base/identity.ts';
import { scopePath } from '../base/identity.ts';
import { MAX_ROOT_METADATA, MAX_SNAPSHOT_METADATA, MAX_TARGETS_METADATA, MAX_TIMESTAMP_METADATA } from '../base/limits.ts';

/** Names in the TUF repository of a group. */

export const ASSIGNMENT = 'assignment';
const RELEASE_PREFIX = 'release-';

/** The delegated role that signs an application's releases. */
export function releaseRole(application: string): string {
  return `${RELEASE_PREFIX}${application}`;
}

/** The application of a release role's name; undefined for other roles. */
export function applicationOf(role: string): string | undefined {
  return role.startsWith(RELEASE_PREFIX) ? role.slice(RELEASE_PREFIX.length) : undefined;
}

export function releaseTarget(application: string, version: string): string {
  return `releases/${application}/${version}`;
}

export function bundleTarget(scope: Scope): string {
  return `bundles/${scopePath(scope)}`;
}

export const ASSIGNMENT_PATHS = ['bundles/*/*/*'] as const;
export function releasePaths(application: string): string[] {
  return [`releases/${application}/*`];
}

/**
 * The field by which timestamp, snapshot and assignment say whose they are. TUF allows and signs fields of one's own (4.2); without this one a
 * thief could feed a device the genuine, higher-numbered metadata of another group and so lock it out of its own.
 */
export const SCOPE_FIELD = 'x-wardcast-scope';
const SCOPED = new Set(['timestamp', 'snapshot', ASSIGNMENT]);
export function isScoped(role: string): boolean {
  return SCOPED.has(role);
}

/** `5.snapshot.json` → snapshot, 5; `timestamp.json` → timestamp, undefined. Undefined: no name of a metadata file. */
export function parseMetadataName(name: string): { readonly role: string; readonly version: number | undefined } | undefined {
  const match = /^(?:([1-9][0-9]{0,14})\.)?([a-z0-9-]{1,80})\.json$/.exec(name);
  const role = match?.[2];
  if (role === undefined) return undefined;
  const version = match?.[1] === undefined ? undefined : Number(match[1]);
  return (role === 'timestamp') === (version === undefined) ? { role, version } : undefined;
}

export function metadataName(role: string, version: number): string {
  return role === 'timestamp' ? 'timestamp.json' : `${version}.${role}.json`;
}

/** Bytes that metadata of a role may have. */
export function maxMetadata(role: string): number {
  if (role === 'root') return MAX_ROOT_METADATA;
  if (role === 'timestamp') return MAX_TIMESTAMP_METADATA;
  return role === 'snapshot' ? MAX_SNAPSHOT_METADATA : MAX_TARGETS_METADATA;
}
