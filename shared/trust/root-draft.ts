import { Metadata, Root, Signature } from '@tufjs/models';
import { Role } from '@tufjs/models/dist/role.js';
import { TrustedMetadataStore } from 'tuf-js/dist/store.js';
import { WardcastError } from '../base/errors.ts';
import { canonicalJson } from '../bundle/canonical.ts';
import { parseRoot } from './inspect.ts';
import { type Signer, tufKey, type VerificationKey } from './keys.ts';
import { signaturesOf } from './tuf-models.ts';

/** Root metadata on its way from version to version: drafted by one, signed by several in turn, each on a machine of their own. Pure. */

export const TOP_ROLES = ['root', 'targets', 'snapshot', 'timestamp'] as const;
export type TopRole = (typeof TOP_ROLES)[number];

export interface RootChange {
  readonly add?: readonly { readonly role: TopRole; readonly key: VerificationKey }[];
  /** Key ids that leave every role, or the one named. */
  readonly remove?: readonly { readonly role?: TopRole | undefined; readonly keyId: string }[];
  readonly thresholds?: Readonly<Partial<Record<TopRole, number>>>;
  readonly expires: Date;
}

/**
 * The next version of a root, unsigned. @throws NOT_FOUND when a key to remove is trusted nowhere; CONFLICT when a role would be left with fewer
 * keys than its threshold; METADATA_INVALID
 */
export function draftRoot(previous: Buffer, change: RootChange): Buffer {
  const { signed } = parseRoot(previous);
  const roles: Record<string, Role> = {};
  for (const [name, role] of Object.entries(signed.roles)) {
    const gone = new Set((change.remove ?? []).filter((one) => one.role === undefined || one.role === name).map((one) => one.keyId));
    const added = (change.add ?? []).filter((one) => one.role === name).map((one) => one.key.keyId);
    const keyIDs = [...new Set([...role.keyIDs.filter((id) => !gone.has(id)), ...added])];
    const threshold = new Map(Object.entries(change.thresholds ?? {})).get(name) ?? role.threshold;
    if (keyIDs.length < threshold) {
      throw new WardcastError('CONFLICT', `The role ${name} would have ${keyIDs.length} keys, and needs ${threshold} to sign`, {
        remedy: 'Add a new key for it in the same step, or lower its threshold.',
      });
    }
    roles[name] = new Role({ keyIDs, threshold });
  }
  for (const { keyId, role } of change.remove ?? []) {
    const trusting = Object.entries(signed.roles).filter(([name, { keyIDs }]) => (role === undefined || role === name) && keyIDs.includes(keyId));
    if (trusting.length > 0) continue;
    throw new WardcastError('NOT_FOUND', `The root trusts no key ${keyId}${role === undefined ? '' : ` for ${role}`}`, {
      remedy: 'See `wardcast keys status`.',
    });
  }
  const all = new Map([...Object.entries(signed.keys), ...(change.add ?? []).map(({ key }) => [key.keyId, tufKey(key)] as const)]);
  const used = new Set(Object.values(roles).flatMap(({ keyIDs }) => keyIDs));
  const keys = Object.fromEntries([...all].filter(([id]) => used.has(id)));
  const root = new Root({
    version: signed.version + 1,
    specVersion: signed.specVersion,
    expires: `${change.expires.toISOString().slice(0, 19)}Z`,
    keys,
    roles,
    consistentSnapshot: signed.consistentSnapshot,
    unrecognizedFields: signed.unrecognizedFields,
  });
  return canonicalJson(new Metadata(root).toJSON());
}

/**
 * The draft with one signature more; the same signer twice changes nothing.
 * @throws CONFLICT when the key has no say in this step: trusted for root neither before nor after
 */
export function signDraft(draft: Buffer, previous: Buffer, signer: Signer): Buffer {
  const metadata = parseRoot(draft);
  const says = (root: Metadata<Root>): boolean => root.signed.roles['root']?.keyIDs.includes(signer.keyId) ?? false;
  if (!says(metadata) && !says(parseRoot(previous))) {
    throw new WardcastError('CONFLICT', `The key ${signer.keyId} is no root key of version ${metadata.signed.version}, nor of the one before`);
  }
  metadata.sign((bytes) => new Signature({ keyID: signer.keyId, sig: signer.sign(bytes).toString('hex') }));
  return canonicalJson(metadata.toJSON());
}

export interface Count {
  readonly signed: readonly string[];
  readonly missing: readonly string[];
  readonly threshold: number;
  readonly reached: boolean;
}

/** How far the signatures on a root go by another root's (or its own) root keys. @throws METADATA_INVALID */
export function countSignatures(root: Buffer, by: Buffer): Count {
  const trusted = parseRoot(by);
  const role = trusted.signed.roles['root'];
  const { ids, signers } = signaturesOf(trusted, 'root', parseRoot(root));
  const threshold = role?.threshold ?? 0;
  return { signed: ids, missing: (role?.keyIDs ?? []).filter((id) => !ids.includes(id)), threshold, reached: threshold > 0 && signers >= threshold };
}

/**
 * The draft as every client will judge it: signed by enough of the old and of the new root keys, exactly one version higher.
 * @throws METADATA_UNTRUSTED
 */
export function checkSuccession(previous: Buffer, next: Buffer): { readonly version: number } {
  try {
    const store = new TrustedMetadataStore(previous);
    return { version: store.updateRoot(next).signed.version };
  } catch (cause) {
    const reason = cause instanceof Error ? cause.message : String(cause);
    throw new WardcastError('METADATA_UNTRUSTED', `No client would take this root after the one before: ${reason}`, {
      cause,
      remedy: 'See whose signatures are missing with `wardcast keys status`.',
    });
  }
}
