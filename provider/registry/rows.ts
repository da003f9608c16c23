import type { z } from 'zod';
import type { Scope } from '../../shared/base/identity.ts';
import type { RESULTS, Statement } from '../../shared/wire/messages.ts';
import type { CurrentRow, CustomerListed, Device, Group, ReleaseRow, Site } from '../../shared/wire/ops.ts';
import type { ChangeOf, RoleRef } from './changes.ts';

/** The registry's rows and their keys. Keys sort as people would list them; every part is an id or has no slash. */

/** A key that remembers the type of its row. */
export interface Key<T> {
  readonly text: string;
  readonly row?: T;
}
/** All rows whose keys start with `text`. */
export interface Prefix<T> {
  readonly text: string;
  readonly row?: T;
}

export type CustomerRow = z.infer<typeof CustomerListed>;
export type SiteRow = z.infer<typeof Site>;
export type GroupRow = z.infer<typeof Group>;
export type DeviceRow = z.infer<typeof Device>;
export type Current = z.infer<typeof CurrentRow>;
export interface Release extends Omit<z.infer<typeof ReleaseRow>, 'encrypted'> {
  readonly manifestSize: number;
  /** Ids of the content keys that its manifest names, in that order; absent: not encrypted. */
  readonly contentKeys?: readonly string[];
}
export type Assigned = Omit<ChangeOf<'bundle-assigned'>, 'type'>;

/** What one device said, all of it: the patent's customer version of every application. */
export interface Standing {
  readonly customer: string;
  readonly device: string;
  /** The highest counter recorded and the digest of that statement. */
  readonly counter: number;
  readonly digest: string;
  /** The device's own time of that statement. */
  readonly at: string;
  /** Counter of the newest inventory, 0: none; it has spoken about every application up to there. */
  readonly inventory: number;
  readonly agent: string | null;
  /** Sorted by application; `version` null: said to run nothing. */
  readonly running: readonly Running[];
  /** The newest confirmation of each application, sorted. */
  readonly results: readonly Result[];
}
export interface Running {
  readonly application: string;
  readonly version: string | null;
  readonly manifest: string | null;
  readonly counter: number;
  readonly at: string;
}
export interface Result {
  readonly application: string;
  readonly version: string;
  readonly manifest: string;
  readonly sequence: number;
  readonly result: (typeof RESULTS)[number];
  readonly reason: string | null;
  readonly counter: number;
  readonly at: string;
}
/** Devices of a group at a site that run the same. */
export interface RunsRow {
  readonly customer: string;
  readonly site: string;
  readonly group: string;
  /** Application and manifest of all that runs, sorted; what never spoke runs nothing. */
  readonly running: readonly (readonly [application: string, manifest: string])[];
  readonly devices: number;
}
/** Bytes of content by where a device had them from, as its confirmations say. */
export interface Moved {
  readonly gateway: number;
  readonly peer: number;
  readonly own: number;
  /** What patches made beyond their own bytes; absent: nothing. */
  readonly patch?: number;
  /** How many confirmations are summed up here. */
  readonly confirmations: number;
}
/** One release on one device. */
export interface DeviceMoved extends Moved {
  readonly customer: string;
  readonly device: string;
  readonly application: string;
  readonly version: string;
  /** Of the newest confirmation summed up here: where the device was then, what asked for it, and what came of it. */
  readonly site: string;
  readonly group: string;
  readonly sequence: number;
  readonly result: (typeof RESULTS)[number];
  readonly counter: number;
  readonly at: string;
}
/** One release of one bundle, over all devices. */
export interface BundleMoved extends Moved {
  readonly customer: string;
  readonly site: string;
  readonly group: string;
  readonly sequence: number;
  readonly application: string;
  readonly version: string;
  /** The most that one confirmation had from gateway and peers together: what the group lacked, if its devices all ran the same before. */
  readonly most: number;
}
/** One site, all its devices and releases. */
export interface SiteMoved extends Moved {
  readonly customer: string;
  readonly site: string;
}
/** Where a statement stands in the log. */
export interface HistoryRow {
  readonly counter: number;
  readonly digest: string;
  readonly sequence: number;
}
/** An entry that concerns a release; whose it is, as far as it is anybody's. */
export interface TraceRow {
  readonly sequence: number;
  readonly customer: string | null;
  readonly site: string | null;
  readonly group: string | null;
  readonly device: string | null;
}

/** Which key a device or gateway holds by now. */
export interface LeafRow {
  /** sha256 of the public key (SPKI); null: released, the next one to enrol may bring any. */
  readonly key: string | null;
  /** The key that this one replaced: whoever still asks with it, for another than this one, is a clone. */
  readonly previous: string | null;
  readonly serial: string;
  readonly expires: string;
}

/** A code for enrolling, without the code. */
export interface TokenRow extends Omit<ChangeOf<'token-added'>, 'type'> {
  /** Devices enrolled with it. */
  readonly used: number;
  readonly revoked: boolean;
}

/** What was decided by hand about one device with one key. */
export interface DecisionRow {
  readonly customer: string;
  readonly site: string;
  readonly group: string;
  readonly device: string;
  readonly key: string;
  readonly approved: boolean;
  readonly at: string;
}

/** Numbers in keys: as many digits as a safe integer has, so that text order is number order. */
export function padded(value: number): string {
  return String(value).padStart(16, '0');
}

export const keys = {
  customer: (customer: string): Key<CustomerRow> => ({ text: `customer/${customer}` }),
  site: (customer: string, site: string): Key<SiteRow> => ({ text: `site/${customer}/${site}` }),
  group: (customer: string, group: string): Key<GroupRow> => ({ text: `group/${customer}/${group}` }),
  device: (customer: string, device: string): Key<DeviceRow> => ({ text: `device/${customer}/${device}` }),
  member: (scope: Scope, device: string): Key<DeviceRow> => ({ text: `member/${scope.customer}/${scope.site}/${scope.group}/${device}` }),
  release: (application: string, version: string): Key<Release> => ({ text: `release/${application}/${version}` }),
  role: (application: string): Key<RoleRef> => ({ text: `role/${application}` }),
  /** All current versions of a group, by application and site. */
  current: (customer: string, group: string): Key<readonly Current[]> => ({ text: `current/${customer}/${group}` }),
  bundle: (scope: Scope): Key<Assigned> => ({ text: `bundle/${scope.customer}/${scope.site}/${scope.group}` }),
  standing: (customer: string, device: string): Key<Standing> => ({ text: `standing/${customer}/${device}` }),
  runs: (scope: Scope, running: string): Key<RunsRow> => ({ text: `runs/${scope.customer}/${scope.site}/${scope.group}/${running}` }),
  deviceMoved: (customer: string, device: string, application: string, version: string): Key<DeviceMoved> => ({
    text: `moved-device/${customer}/${device}/${application}/${encodeURIComponent(version)}`,
  }),
  bundleMoved: (scope: Scope, sequence: number, application: string, version: string): Key<BundleMoved> => ({
    text: `moved-bundle/${scope.customer}/${scope.site}/${scope.group}/${padded(sequence)}/${application}/${encodeURIComponent(version)}`,
  }),
  siteMoved: (customer: string, site: string): Key<SiteMoved> => ({ text: `moved-site/${customer}/${site}` }),
  history: (customer: string, device: string, counter: number): Key<HistoryRow> => ({ text: `history/${customer}/${device}/${padded(counter)}` }),
  token: (token: string): Key<TokenRow> => ({ text: `token/${token}` }),
  deviceLeaf: (customer: string, device: string): Key<LeafRow> => ({ text: `leaf-device/${customer}/${device}` }),
  gatewayLeaf: (customer: string, site: string, gateway: string): Key<LeafRow> => ({ text: `leaf-gateway/${customer}/${site}/${gateway}` }),
  decision: (customer: string, device: string, key: string): Key<DecisionRow> => ({ text: `decision/${customer}/${device}/${key}` }),
  trace: (application: string, version: string, sequence: number): Key<TraceRow> => ({
    // A device may claim any text as a version.
    text: `trace/${application}/${encodeURIComponent(version)}/${padded(sequence)}`,
  }),
};

/** The statement that a device made under this counter, if it is on the log. Above the highest one there is none: no need to look. */
export function saidBefore(read: <T>(key: Key<T>) => T | undefined, standing: Standing | undefined, statement: Statement): HistoryRow | undefined {
  const { customer, device, counter } = statement;
  return counter > (standing?.counter ?? 0) ? undefined : read(keys.history(customer, device, counter));
}

export const prefixes = {
  customers: (): Prefix<CustomerRow> => ({ text: 'customer/' }),
  sites: (customer?: string): Prefix<SiteRow> => ({ text: below('site', customer) }),
  groups: (customer?: string): Prefix<GroupRow> => ({ text: below('group', customer) }),
  devices: (customer?: string): Prefix<DeviceRow> => ({ text: below('device', customer) }),
  members: (customer?: string, site?: string, group?: string): Prefix<DeviceRow> => ({ text: below('member', customer, site, group) }),
  releases: (application?: string): Prefix<Release> => ({ text: below('release', application) }),
  roles: (): Prefix<RoleRef> => ({ text: 'role/' }),
  currents: (customer?: string): Prefix<readonly Current[]> => ({ text: below('current', customer) }),
  bundles: (customer?: string, site?: string): Prefix<Assigned> => ({ text: below('bundle', customer, site) }),
  standings: (customer?: string): Prefix<Standing> => ({ text: below('standing', customer) }),
  runs: (customer: string, site?: string, group?: string): Prefix<RunsRow> => ({ text: below('runs', customer, site, group) }),
  devicesMoved: (customer: string, device: string): Prefix<DeviceMoved> => ({ text: below('moved-device', customer, device) }),
  bundleMoved: (scope: Scope, sequence: number): Prefix<BundleMoved> => ({
    text: below('moved-bundle', scope.customer, scope.site, scope.group, padded(sequence)),
  }),
  sitesMoved: (customer?: string): Prefix<SiteMoved> => ({ text: below('moved-site', customer) }),
  decisions: (customer: string, device: string): Prefix<DecisionRow> => ({ text: below('decision', customer, device) }),
  tokens: (): Prefix<TokenRow> => ({ text: 'token/' }),
  history: (customer: string, device: string): Prefix<HistoryRow> => ({ text: `history/${customer}/${device}/` }),
  trace: (application: string, version: string): Prefix<TraceRow> => ({ text: `trace/${application}/${encodeURIComponent(version)}/` }),
};

/** `kind/a/b/`, as deep as the parts are given. */
function below(kind: string, ...parts: readonly (string | undefined)[]): string {
  const open = parts.indexOf(undefined);
  return `${[kind, ...parts.slice(0, open < 0 ? parts.length : open)].join('/')}/`;
}
