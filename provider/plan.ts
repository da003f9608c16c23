import type { Scope } from '../shared/base/identity.ts';
import type { Bundle, BundleRelease, GroupKeyRef, Revoked } from '../shared/bundle/bundle.ts';

/** What the plan looks at. Plain values: the same snapshot gives the same plan. */
export interface Snapshot {
  readonly groups: readonly GroupSnapshot[];
  /** Published releases by application, then version. */
  readonly releases: ReadonlyMap<string, ReadonlyMap<string, PublishedRelease>>;
}
export interface PublishedRelease {
  readonly manifest: string;
  /** Bytes of the manifest. */
  readonly size: number;
  readonly withdrawn: boolean;
  /** Ids of its content keys; absent: it is not encrypted. */
  readonly contentKeys?: readonly string[] | undefined;
}
export interface GroupSnapshot extends Scope {
  /** All current versions of the group at all sites; one for this site overrides the one for all. */
  readonly currents: readonly CurrentVersion[];
  /** What was assigned last; undefined: nothing ever. */
  readonly assigned: Content | undefined;
  /** The devices to look at: all of the group at the site, or only those of which something changed. */
  readonly devices: readonly DeviceSnapshot[];
  /** Devices of the group and gateways of the site whose certificates are refused, as far as any can still be valid. */
  readonly revoked?: readonly Revoked[];
  /** The oldest CA of the group that is still good. */
  readonly oldestCa?: number | undefined;
  /** The group's key of now, needed where a current version is encrypted. */
  readonly groupKey?: GroupKeyRef | undefined;
}
export interface CurrentVersion {
  readonly site: string | null;
  readonly application: string;
  readonly version: string | null;
  readonly allowDowngrade: boolean;
}
export interface DeviceSnapshot {
  /** A device, or several of a group that run the same. */
  readonly device: string;
  /** How many they are; absent: one. */
  readonly alike?: number;
  /** Application → manifest hash of what runs, as the device said; undefined: it has never spoken. */
  readonly running: ReadonlyMap<string, string> | undefined;
}
export type Content = Pick<Bundle, 'releases' | 'withdrawn' | 'revoked' | 'oldestCa' | 'groupKey'>;

export interface Plan {
  /** Groups that need a new bundle. */
  readonly bundles: readonly (Scope & Content)[];
  /** Groups whose bundle is right, but some device does not run it: offer it once more. */
  readonly offers: readonly Scope[];
  /** Devices whose customer version differs from the current version. */
  readonly due: readonly DueDevice[];
}
export interface DueDevice extends Scope {
  readonly device: string;
  readonly alike: number;
  readonly applications: readonly string[];
}

/** The patent's comparison: where the customer version differs from the current version, the group's bundle is due. */
export function plan({ groups, releases }: Snapshot): Plan {
  const bundles: (Scope & Content)[] = [];
  const offers: Scope[] = [];
  const due: DueDevice[] = [];
  for (const group of groups) {
    const { customer, site, assigned } = group;
    const scope: Scope = { customer, site, group: group.group };
    const content = contentFor(group, releases);
    const behind = group.devices.flatMap((device): DueDevice[] => {
      const applications = dueApplications(device, content.releases);
      return applications.length === 0 ? [] : [{ ...scope, device: device.device, alike: device.alike ?? 1, applications }];
    });
    due.push(...behind);
    const changed = assigned === undefined ? (content.releases.length > 0 && behind.length > 0) || refuses(content) : !sameContent(assigned, content);
    if (changed) bundles.push({ ...scope, ...content });
    else if (behind.length > 0) offers.push(scope);
  }
  return { bundles, offers, due };
}

/** What a group at a site shall run, and what it must not activate any more. */
export function contentFor(
  group: Pick<GroupSnapshot, 'site' | 'currents' | 'assigned' | 'revoked' | 'oldestCa' | 'groupKey'>,
  releases: Snapshot['releases'],
): Content {
  const wanted: BundleRelease[] = [];
  const withdrawn = new Map<string, { application: string; manifest: string }>();
  const isWithdrawn = (application: string, manifest: string): boolean =>
    [...(releases.get(application)?.values() ?? [])].some((release) => release.manifest === manifest && release.withdrawn);
  const withdraw = ({ application, manifest }: { application: string; manifest: string }): void => {
    if (isWithdrawn(application, manifest)) withdrawn.set(`${application}/${manifest}`, { application, manifest });
  };
  for (const { application, version, allowDowngrade } of effective(group.currents, group.site)) {
    const release = version === null ? undefined : releases.get(application)?.get(version);
    if (version === null || release === undefined) continue;
    if (release.withdrawn) withdraw({ application, manifest: release.manifest });
    else wanted.push({ application, version, manifest: release.manifest, size: release.size, allowDowngrade });
  }
  // Withdrawn once, said as long as the group has bundles: a device may have slept through any of them.
  for (const entry of [...(group.assigned?.releases ?? []), ...(group.assigned?.withdrawn ?? [])]) withdraw(entry);
  return {
    releases: wanted.sort(byApplication),
    withdrawn: [...withdrawn.values()].sort(byApplication),
    ...(group.revoked === undefined || group.revoked.length === 0 ? {} : { revoked: group.revoked.map(({ identity, until }) => ({ identity, until })) }),
    ...(group.oldestCa === undefined ? {} : { oldestCa: group.oldestCa }),
    ...(group.groupKey === undefined || !wanted.some((one) => isEncrypted(one, releases)) ? {} : { groupKey: group.groupKey }),
  };
}

/** Does the group want an encrypted release at this site? Then it needs a key. */
export function needsGroupKey(currents: readonly CurrentVersion[], site: string, releases: Snapshot['releases']): boolean {
  return effective(currents, site).some(({ application, version }) => version !== null && isEncrypted({ application, version }, releases));
}

function isEncrypted({ application, version }: { application: string; version: string }, releases: Snapshot['releases']): boolean {
  return releases.get(application)?.get(version)?.contentKeys !== undefined;
}

/** A group that nothing is assigned to needs a bundle all the same when somebody must be kept out. */
function refuses({ revoked = [], oldestCa }: Content): boolean {
  return revoked.length > 0 || oldestCa !== undefined;
}

/** The version of each application that counts at a site: the site's own, or else the group's. */
export function effective(currents: readonly CurrentVersion[], site: string): readonly CurrentVersion[] {
  const chosen = new Map<string, CurrentVersion>();
  for (const row of currents) {
    if (row.site === site || (row.site === null && chosen.get(row.application)?.site !== site)) chosen.set(row.application, row);
  }
  return [...chosen.values()];
}

function dueApplications({ running }: DeviceSnapshot, wanted: Content['releases']): readonly string[] {
  return wanted.filter(({ application, manifest }) => running?.get(application) !== manifest).map(({ application }) => application);
}

export function sameContent(a: Content, b: Content): boolean {
  return fingerprint(a) === fingerprint(b);
}

function fingerprint({ releases, withdrawn, revoked = [], oldestCa = 1, groupKey }: Content): string {
  const wanted = releases.map((row) => [row.application, row.version, row.manifest, row.size, row.allowDowngrade].join(' ')).sort();
  const refused = revoked.map((row) => `${row.identity} ${row.until}`).sort();
  return JSON.stringify([
    wanted,
    withdrawn.map((row) => `${row.application} ${row.manifest}`).sort(),
    refused,
    oldestCa,
    groupKey?.epoch,
    groupKey?.commitment,
  ]);
}

function byApplication(a: { application: string; manifest: string }, b: { application: string; manifest: string }): number {
  const [left, right] = [`${a.application}/${a.manifest}`, `${b.application}/${b.manifest}`];
  return left < right ? -1 : left > right ? 1 : 0;
}
