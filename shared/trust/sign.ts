import { type Key, Metadata, MetaFile, Root, Signature, Snapshot, TargetFile, Targets, Timestamp } from '@tufjs/models';
import { Delegations } from '@tufjs/models/dist/delegations.js';
import { DelegatedRole, Role } from '@tufjs/models/dist/role.js';
import type { Scope } from '../base/identity.ts';
import { scopePath } from '../base/identity.ts';
import { canonicalJson } from '../bundle/canonical.ts';
import { type Signer, tufKey, type VerificationKey } from './keys.ts';
import { ASSIGNMENT, ASSIGNMENT_PATHS, bundleTarget, releasePaths, releaseRole, releaseTarget, SCOPE_FIELD } from './roles.ts';

/** Signed metadata of every role, as canonical bytes (TUF 1.0, 4.3–4.6). Pure: the same input gives the same bytes, ed25519 being deterministic. */

export interface SignOptions {
  /** From 1. */
  readonly version: number;
  readonly expires: Date;
  /** The keys that sign now. */
  readonly keys: readonly Signer[];
}

export interface KeyRole {
  readonly keys: readonly VerificationKey[];
  readonly threshold: number;
}

/** The key directory. For a rotation sign with a threshold of both the old and the new root keys (6.1). */
export function signRoot(options: SignOptions & { readonly roles: Readonly<Record<'root' | 'targets' | 'snapshot' | 'timestamp', KeyRole>> }): Buffer {
  const roles: Record<string, Role> = {};
  const keys: Record<string, Key> = {};
  for (const [name, role] of Object.entries(options.roles)) {
    roles[name] = new Role({ keyIDs: role.keys.map((key) => key.keyId), threshold: role.threshold });
    for (const key of role.keys) keys[key.keyId] = tufKey(key);
  }
  return seal(new Root({ ...common(options), keys, roles, consistentSnapshot: true }), options.keys);
}

/** Delegations only: one role per application, one for assignments. */
export function signTargets(options: SignOptions & { readonly assignment: KeyRole; readonly applications: ReadonlyMap<string, KeyRole> }): Buffer {
  const keys: Record<string, Key> = {};
  const roles: Record<string, DelegatedRole> = {};
  const delegate = (name: string, paths: string[], role: KeyRole): void => {
    for (const key of role.keys) keys[key.keyId] = tufKey(key);
    // Terminating: no later role may speak about these paths (5.6.7.2).
    roles[name] = new DelegatedRole({ name, paths, terminating: true, keyIDs: role.keys.map((key) => key.keyId), threshold: role.threshold });
  };
  for (const [application, role] of options.applications) delegate(releaseRole(application), releasePaths(application), role);
  delegate(ASSIGNMENT, [...ASSIGNMENT_PATHS], options.assignment);
  return seal(new Targets({ ...common(options), targets: {}, delegations: new Delegations({ keys, roles }) }), options.keys);
}

export interface ReleaseTarget {
  readonly version: string;
  /** sha256 of the manifest. */
  readonly manifest: string;
  /** Bytes of the manifest. */
  readonly size: number;
}

/** All releases of one application that may be run. */
export function signRelease(options: SignOptions & { readonly application: string; readonly releases: readonly ReleaseTarget[] }): Buffer {
  const targets: Record<string, TargetFile> = {};
  for (const release of options.releases) {
    const path = releaseTarget(options.application, release.version);
    targets[path] = new TargetFile({ path, length: release.size, hashes: { sha256: release.manifest } });
  }
  return seal(new Targets({ ...common(options), targets }), options.keys);
}

/** The bundle of one group. */
export function signAssignment(options: SignOptions & { readonly scope: Scope; readonly bundle: { readonly sha256: string; readonly size: number } }): Buffer {
  const path = bundleTarget(options.scope);
  const target = new TargetFile({ path, length: options.bundle.size, hashes: { sha256: options.bundle.sha256 } });
  return seal(new Targets({ ...scoped(options), targets: { [path]: target } }), options.keys);
}

/** Which bytes of which version of a metadata file are meant. */
export interface MetaEntry {
  readonly version: number;
  readonly length: number;
  readonly sha256: string;
}

/** `meta`: by file name without version, such as `targets.json`. */
export function signSnapshot(options: SignOptions & { readonly scope: Scope; readonly meta: Readonly<Record<string, MetaEntry>> }): Buffer {
  const meta = Object.fromEntries(Object.entries(options.meta).map(([name, entry]) => [name, metaFile(entry)]));
  return seal(new Snapshot({ ...scoped(options), meta }), options.keys);
}

export function signTimestamp(options: SignOptions & { readonly scope: Scope; readonly snapshot: MetaEntry }): Buffer {
  return seal(new Timestamp({ ...scoped(options), snapshotMeta: metaFile(options.snapshot) }), options.keys);
}

function metaFile({ version, length, sha256 }: MetaEntry): MetaFile {
  return new MetaFile({ version, length, hashes: { sha256 } });
}

function common({ version, expires }: SignOptions): { version: number; specVersion: string; expires: string } {
  // TUF dates have whole seconds (4.2.1).
  return { version, specVersion: '1.0.31', expires: `${expires.toISOString().slice(0, 19)}Z` };
}

function scoped(options: SignOptions & { readonly scope: Scope }): ReturnType<typeof common> & { unrecognizedFields: Record<string, string> } {
  return { ...common(options), unrecognizedFields: { [SCOPE_FIELD]: scopePath(options.scope) } };
}

function seal(signed: Root | Targets | Snapshot | Timestamp, keys: readonly Signer[]): Buffer {
  const metadata = new Metadata(signed);
  for (const key of keys) {
    metadata.sign((bytes) => new Signature({ keyID: key.keyId, sig: key.sign(bytes).toString('hex') }));
  }
  return canonicalJson(metadata.toJSON());
}
