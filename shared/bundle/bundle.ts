import { z } from 'zod';
import { WardcastError } from '../base/errors.ts';
import { parseIdentityPath, sameScope } from '../base/identity.ts';
import {
  MAX_BUNDLE,
  MAX_BUNDLE_RELEASES,
  MAX_BUNDLE_REVOKED,
  MAX_BUNDLE_WITHDRAWN,
  MAX_CA_GENERATION,
  MAX_CONTENT_KEYS,
  MAX_MANIFEST,
  MAX_PATCH_MANIFEST,
  MAX_RELEASE_PATCHES,
} from '../base/limits.ts';
import { canonicalJson } from './canonical.ts';
import { checkShape, HashText, IdText, parseJson, VersionText } from './strict-json.ts';

/** What one group at one site shall run: what the assignment role signs, docs/bundle-format.md. */
export interface Bundle {
  readonly format: 1;
  readonly customer: string;
  readonly site: string;
  readonly group: string;
  /** From 1; a higher one replaces all lower ones. */
  readonly sequence: number;
  /** One per application, in ascending order of it. */
  readonly releases: readonly BundleRelease[];
  /** Must not be activated any more; what runs keeps running until another release replaces it. */
  readonly withdrawn: readonly { readonly application: string; readonly manifest: string }[];
  /** Whose certificates no door of this group takes any more, in ascending order; absent: nobody's. */
  readonly revoked?: readonly Revoked[] | undefined;
  /** Certificates from earlier CAs of this group are refused; absent: there is only the first. */
  readonly oldestCa?: number | undefined;
  /** Under which key of the group the content keys of encrypted releases are wrapped; absent: no release is encrypted. */
  readonly groupKey?: GroupKeyRef | undefined;
}
/** A group key, without the key: group-key.ts. */
export interface GroupKeyRef {
  /** From 1; a new one whenever somebody leaves the group. */
  readonly epoch: number;
  /** Hash that only this key has. */
  readonly commitment: string;
}
/** A device of this group, or a gateway of its site. */
export interface Revoked {
  /** Its identity path. */
  readonly identity: string;
  /** RFC 3339 in whole seconds: certificates of this identity issued up to then are revoked, later ones are good. */
  readonly until: string;
}
export interface BundleRelease {
  readonly application: string;
  readonly version: string;
  /** sha256 of the manifest. */
  readonly manifest: string;
  /** Bytes of the manifest. */
  readonly size: number;
  /** This release is wanted although the device may run a newer one. */
  readonly allowDowngrade: boolean;
  /** Of an encrypted release: the content keys that its manifest names, in that order, each wrapped under the group key, in base64. */
  readonly keys?: readonly string[] | undefined;
  /**
   * Patches that make this release of others: present where all devices of the group had one of these when it was assigned, so that a gateway fetches the
   * patches, and the release's own chunks only when a device asks for them. They need no trust: docs/patch-format.md.
   */
  readonly patches?: readonly BundlePatch[] | undefined;
}
export interface BundlePatch {
  /** Manifest hash of the release that it is applied to. */
  readonly from: string;
  /** sha256 of the patch's own manifest: its one file is the patch. */
  readonly manifest: string;
  /** Bytes of that manifest. */
  readonly size: number;
}

/** As in a bundle, and on the provider's log. */
export const RevokedShape = z.strictObject({ identity: z.string().max(400), until: z.string().regex(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$/) });

export const GroupKeyShape = z.strictObject({ epoch: z.int().min(1), commitment: HashText });
/** 32 bytes and 8 of integrity (RFC 3394), in base64. */
const WrappedKeyText = z.string().regex(/^[A-Za-z0-9+/]{53}[AQgw]==$/);

const BundleShape = z.strictObject({
  format: z.literal(1),
  customer: IdText,
  site: IdText,
  group: IdText,
  sequence: z.int().min(1),
  releases: z
    .array(
      z.strictObject({
        application: IdText,
        version: VersionText,
        manifest: HashText,
        size: z.int().min(1).max(MAX_MANIFEST),
        allowDowngrade: z.boolean(),
        keys: z.array(WrappedKeyText).min(1).max(MAX_CONTENT_KEYS).optional(),
        patches: z
          .array(z.strictObject({ from: HashText, manifest: HashText, size: z.int().min(1).max(MAX_PATCH_MANIFEST) }))
          .min(1)
          .max(MAX_RELEASE_PATCHES)
          .optional(),
      }),
    )
    .max(MAX_BUNDLE_RELEASES),
  withdrawn: z.array(z.strictObject({ application: IdText, manifest: HashText })).max(MAX_BUNDLE_WITHDRAWN),
  revoked: z.array(RevokedShape).min(1).max(MAX_BUNDLE_REVOKED).optional(),
  oldestCa: z.int().min(2).max(MAX_CA_GENERATION).optional(),
  groupKey: GroupKeyShape.optional(),
});

/**
 * Reads a bundle from untrusted bytes; unknown keys and any bytes but the canonical ones are refused.
 * @throws BUNDLE_INVALID, LIMIT_EXCEEDED
 */
export function parseBundle(bytes: Buffer): Bundle {
  const bundle: Bundle = checkShape(BundleShape, parseJson(bytes, MAX_BUNDLE, 'BUNDLE_INVALID', 'bundle'), 'BUNDLE_INVALID', 'bundle');
  checkBundle(bundle);
  if (!canonicalJson(sorted(bundle)).equals(bytes)) {
    throw new WardcastError('BUNDLE_INVALID', 'The bundle is not in canonical form (sorted keys and entries, no white space)');
  }
  return bundle;
}

/** The canonical bytes of a bundle, its entries sorted. @throws BUNDLE_INVALID, LIMIT_EXCEEDED */
export function printBundle(bundle: Bundle): Buffer {
  checkBundle(checkShape(BundleShape, bundle, 'BUNDLE_INVALID', 'bundle'));
  const bytes = canonicalJson(sorted(bundle));
  if (bytes.length > MAX_BUNDLE) throw new WardcastError('LIMIT_EXCEEDED', `The bundle has ${bytes.length} bytes, more than ${MAX_BUNDLE}`);
  return bytes;
}

function checkBundle(bundle: Bundle): void {
  checkRevoked(bundle);
  const applications = new Set<string>();
  for (const { application } of bundle.releases) {
    if (applications.has(application)) throw new WardcastError('BUNDLE_INVALID', `The bundle names two releases of ${application}`);
    applications.add(application);
  }
  for (const { application, manifest, patches = [] } of bundle.releases) {
    const from = new Set(patches.map((patch) => patch.from));
    if (from.size !== patches.length || from.has(manifest))
      throw new WardcastError('BUNDLE_INVALID', `The bundle names patches for ${application} that are of the same release`);
  }
  if ((bundle.groupKey !== undefined) !== bundle.releases.some(({ keys }) => keys !== undefined))
    throw new WardcastError('BUNDLE_INVALID', 'The bundle names a group key without wrapped content keys, or these without it');
  const withdrawn = new Set<string>();
  for (const entry of bundle.withdrawn) {
    const key = `${entry.application}/${entry.manifest}`;
    if (withdrawn.has(key)) throw new WardcastError('BUNDLE_INVALID', `The bundle withdraws ${key} twice`);
    withdrawn.add(key);
  }
  for (const { application, version, manifest } of bundle.releases) {
    if (withdrawn.has(`${application}/${manifest}`)) throw new WardcastError('BUNDLE_INVALID', `The bundle both wants and withdraws ${application} ${version}`);
  }
}

/** Nobody else's: a list of one group decides about nothing but its own devices and the gateways of its site. */
function checkRevoked(bundle: Bundle): void {
  const named = new Set<string>();
  for (const { identity: path, until } of bundle.revoked ?? []) {
    const identity = parseIdentityPath(path);
    const own =
      identity?.role === 'device'
        ? sameScope(identity, bundle)
        : identity?.role === 'gateway' && identity.customer === bundle.customer && identity.site === bundle.site;
    if (!own) throw new WardcastError('BUNDLE_INVALID', 'The bundle revokes somebody who is neither a device of its group nor a gateway of its site');
    if (Number.isNaN(Date.parse(until))) throw new WardcastError('BUNDLE_INVALID', `The bundle revokes ${path} until no possible date`);
    if (named.has(path)) throw new WardcastError('BUNDLE_INVALID', `The bundle revokes ${path} twice`);
    named.add(path);
  }
}

function sorted(bundle: Bundle): Bundle {
  return {
    ...bundle,
    releases: bundle.releases.map(inOrder).sort(byApplication),
    withdrawn: [...bundle.withdrawn].sort(byApplication),
    // Absent keys, not undefined ones: canonical JSON knows no undefined.
    ...(bundle.revoked === undefined ? {} : { revoked: [...bundle.revoked].sort((a, b) => compare(a.identity, b.identity)) }),
  };
}

function inOrder(release: BundleRelease): BundleRelease {
  return release.patches === undefined ? release : { ...release, patches: [...release.patches].sort((a, b) => compare(a.from, b.from)) };
}

interface Named {
  readonly application: string;
  readonly manifest: string;
}

function byApplication(a: Named, b: Named): number {
  return compare(a.application, b.application) || compare(a.manifest, b.manifest);
}

function compare(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}
