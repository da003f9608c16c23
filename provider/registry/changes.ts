import { z } from 'zod';
import { MAX_CA_GENERATION } from '../../shared/base/limits.ts';
import { GroupKeyShape, RevokedShape } from '../../shared/bundle/bundle.ts';
import { TokenId, TokenTerms } from '../../shared/wire/enrol.ts';
import { Id, Sha256, Version } from '../../shared/wire/messages.ts';
import { CurrentRow, Customer, Device, Group, Site } from '../../shared/wire/ops.ts';

/** Everything that can happen to the registry. Each is one entry of the log; nothing else changes a row. */

const Count = z.int().min(0);
/** Text for people. Control characters have no canonical form, and no business in a terminal. */
const Text = z
  .string()
  .max(500)
  .regex(/^\P{Cc}*$/u, 'no control characters');
const Seconds = RevokedShape.shape.until;
const Name = Text.max(200).optional();
/** Signed metadata of `release-<application>`, kept as a blob under its hash. */
export const RoleRef = z.strictObject({ version: z.int().min(1), sha256: Sha256 });
export type RoleRef = z.infer<typeof RoleRef>;

const BundleRelease = z.strictObject({ application: Id, version: Version, manifest: Sha256, size: Count, allowDowngrade: z.boolean() });

/** The certified key (sha256 of its SPKI), its certificate, and the key that asked if that was another: the one before. */
const Certified = { key: Sha256, serial: z.string().regex(/^[0-9a-f]{1,40}$/), expires: z.iso.datetime(), previous: Sha256.nullable() };

export const Change = z.discriminatedUnion('type', [
  z.strictObject({ type: z.literal('customer-added'), ...Customer.shape, name: Name }),
  z.strictObject({ type: z.literal('site-added'), ...Site.shape, name: Name }),
  z.strictObject({ type: z.literal('group-added'), ...Group.shape, name: Name }),
  z.strictObject({ type: z.literal('device-added'), ...Device.shape, name: Name }),
  z.strictObject({
    type: z.literal('device-moved'),
    customer: Id,
    device: Id,
    site: Id,
    group: Id,
    /** Where it was: its certificates of there, issued up to `until`, are revoked with the move. */
    from: z.strictObject({ site: Id, group: Id, until: Seconds }).optional(),
  }),
  z.strictObject({ type: z.literal('device-removed'), customer: Id, device: Id }),
  /** Certificates of this identity issued up to `until` are good for nothing any more. */
  z.strictObject({ type: z.literal('device-revoked'), customer: Id, site: Id, group: Id, device: Id, until: Seconds, reason: Text }),
  z.strictObject({ type: z.literal('gateway-revoked'), customer: Id, site: Id, gateway: Id, until: Seconds, reason: Text }),
  z.strictObject({ type: z.literal('ops-revoked'), name: Id, until: Seconds, reason: Text }),
  /** Certificates of the group's CAs before generation `oldest` are good for nothing any more. */
  z.strictObject({ type: z.literal('ca-retired'), customer: Id, group: Id, oldest: z.int().min(2).max(MAX_CA_GENERATION), reason: Text }),
  /** A new epoch of the group's key begins, at one site or at all of them. It also does whenever a device is revoked, moved away or removed, or a CA is retired. */
  z.strictObject({ type: z.literal('group-key-rotated'), customer: Id, group: Id, site: Id.nullable(), reason: Text }),
  /** Nobody of this customer is served any more; its rows stay. */
  z.strictObject({ type: z.literal('customer-retired'), customer: Id, reason: Text }),
  z.strictObject({
    type: z.literal('release-published'),
    application: Id,
    version: Version,
    manifest: Sha256,
    /** Bytes of the manifest itself. */
    manifestSize: Count,
    /** Bytes of all files; how many files; how many different chunks. */
    size: Count,
    files: Count,
    chunks: Count,
    /** Ids of the content keys of an encrypted release; the keys are where no log is. */
    contentKeys: z.array(Sha256).min(1).optional(),
    role: RoleRef,
  }),
  z.strictObject({ type: z.literal('release-withdrawn'), application: Id, version: Version, reason: Text, role: RoleRef.optional() }),
  z.strictObject({ type: z.literal('current-set'), ...CurrentRow.shape }),
  z.strictObject({
    type: z.literal('bundle-assigned'),
    customer: Id,
    site: Id,
    group: Id,
    sequence: z.int().min(1),
    bundle: Sha256,
    releases: z.array(BundleRelease),
    withdrawn: z.array(z.strictObject({ application: Id, manifest: Sha256 })),
    revoked: z.array(RevokedShape).optional(),
    oldestCa: z.int().min(2).optional(),
    /** Under which key of the group its content keys are wrapped: not the key. */
    groupKey: GroupKeyShape.optional(),
  }),
  /** A code that devices may enrol with; the log holds what a code is checked with, never the code. */
  z.strictObject({ type: z.literal('token-added'), customer: Id, site: Id, ...TokenTerms, expires: z.iso.datetime() }),
  z.strictObject({ type: z.literal('token-revoked'), token: TokenId }),
  /** A device's key was certified: at enrolment (then the device may be new), or anew. On the log before the certificate is given away. */
  z.strictObject({
    type: z.literal('device-certified'),
    customer: Id,
    site: Id,
    group: Id,
    device: Id,
    ...Certified,
    by: z.enum(['token', 'claim', 'renewal']),
    token: TokenId.optional(),
    claim: Id.optional(),
  }),
  z.strictObject({ type: z.literal('gateway-certified'), customer: Id, site: Id, gateway: Id, ...Certified }),
  /** An answer to a device that waited for approval by hand. */
  z.strictObject({ type: z.literal('enrolment-decided'), customer: Id, site: Id, group: Id, device: Id, key: Sha256, approved: z.boolean() }),
  /** The device may enrol once more, with another key: it was repaired or wiped. */
  z.strictObject({ type: z.literal('device-key-released'), customer: Id, device: Id }),
  /** A device's word, as it was signed: `payload` and `signature` in base64; the certificate chain is a blob under its hash. */
  z.strictObject({ type: z.literal('statement'), payload: z.string(), signature: z.string(), chain: Sha256 }),
]);
export type Change = z.infer<typeof Change>;
export type ChangeOf<T extends Change['type']> = Extract<Change, { type: T }>;
