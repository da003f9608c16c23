import { z } from 'zod';
import { Id, Sha256, Version } from '../../shared/wire/messages.ts';
import { CurrentRow, Customer, Device, Group, Site } from '../../shared/wire/ops.ts';

/** Everything that can happen to the registry. Each is one entry of the log; nothing else changes a row. */

const Count = z.int().min(0);
/** Text for people. Control characters have no canonical form, and no business in a terminal. */
const Text = z
  .string()
  .max(500)
  .regex(/^\P{Cc}*$/u, 'no control characters');
const Name = Text.max(200).optional();
/** Signed metadata of `release-<application>`, kept as a blob under its hash. */
export const RoleRef = z.strictObject({ version: z.int().min(1), sha256: Sha256 });
export type RoleRef = z.infer<typeof RoleRef>;

const BundleRelease = z.strictObject({ application: Id, version: Version, manifest: Sha256, size: Count, allowDowngrade: z.boolean() });

export const Change = z.discriminatedUnion('type', [
  z.strictObject({ type: z.literal('customer-added'), ...Customer.shape, name: Name }),
  z.strictObject({ type: z.literal('site-added'), ...Site.shape, name: Name }),
  z.strictObject({ type: z.literal('group-added'), ...Group.shape, name: Name }),
  z.strictObject({ type: z.literal('device-added'), ...Device.shape, name: Name }),
  z.strictObject({ type: z.literal('device-moved'), customer: Id, device: Id, site: Id, group: Id }),
  z.strictObject({ type: z.literal('device-removed'), customer: Id, device: Id }),
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
  }),
  /** A device's word, as it was signed: `payload` and `signature` in base64; the certificate chain is a blob under its hash. */
  z.strictObject({ type: z.literal('statement'), payload: z.string(), signature: z.string(), chain: Sha256 }),
]);
export type Change = z.infer<typeof Change>;
export type ChangeOf<T extends Change['type']> = Extract<Change, { type: T }>;
