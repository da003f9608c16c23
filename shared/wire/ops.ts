import { z } from 'zod';
import { MAX_CA_GENERATION, MAX_CONTENT_KEYS, MAX_REPLY_ROWS } from '../base/limits.ts';
import { TokenId, TokenTerms } from './enrol.ts';
import { Id, LogPoint, Progress, RESULTS, SeenDevice, Sha256, Version } from './messages.ts';

/** Every ops action, its parameters and its result: the table behind the provider's api, the CLI and the AsyncAPI document. */

const Count = z.int().min(0);
const Name = z.string().max(200).optional();
const Time = z.iso.datetime();

export const Customer = z.strictObject({ customer: Id, name: Name });
/** A customer as it is listed: with when and why it was retired. */
export const CustomerListed = Customer.extend({ retired: z.strictObject({ at: Time, reason: z.string().max(500) }).optional() });
export const Site = z.strictObject({ customer: Id, site: Id, name: Name });
export const Group = z.strictObject({ customer: Id, group: Id, name: Name });
export const Device = z.strictObject({ customer: Id, device: Id, site: Id, group: Id, name: Name });
export const ReleaseRow = z.strictObject({
  application: Id,
  version: Version,
  manifest: Sha256,
  size: Count,
  files: Count,
  chunks: Count,
  publishedAt: Time,
  /** Readable by devices of groups that get it alone; absent: by whoever holds its chunks. */
  encrypted: z.literal(true).optional(),
  withdrawn: z.strictObject({ at: Time, reason: z.string().max(500) }).nullable(),
});
/** `site` null: every site of the customer that has the group. `version` null: no longer wanted. */
export const CurrentRow = z.strictObject({
  customer: Id,
  group: Id,
  site: Id.nullable(),
  application: Id,
  version: Version.nullable(),
  allowDowngrade: z.boolean(),
});
/** One device × application: the two versions of the patent side by side. */
export const StatusRow = z.strictObject({
  customer: Id,
  site: Id,
  group: Id,
  device: Id,
  application: Id,
  currentVersion: Version.nullable(),
  customerVersion: Version.nullable(),
  /** `unknown`: the device has never spoken. `withdrawn`: it runs a release that was withdrawn. */
  state: z.enum(['up-to-date', 'due', 'unknown', 'failed', 'withdrawn', 'unmanaged']),
  result: z.enum(RESULTS).nullable(),
  reason: z.string().nullable(),
  counter: Count,
  at: Time.nullable(),
});
/** Bytes of content by where devices had them from, as their signed confirmations say. */
const Had = { gateway: Count, peer: Count, own: Count, patch: Count.default(0) };
/** One release on one device: all its confirmations about it summed up, and the newest of them. */
export const InstallationRow = z.strictObject({
  customer: Id,
  site: Id,
  group: Id,
  device: Id,
  application: Id,
  version: Version,
  sequence: Count,
  result: z.enum(RESULTS),
  confirmations: Count,
  ...Had,
  counter: Count,
  at: Time,
});
/** Where a bundle's bytes came from. */
export const BundleRow = z.strictObject({
  customer: Id,
  site: Id,
  group: Id,
  sequence: Count,
  /** As the gateway says: what the line brought for this bundle, and what the gateway sent to devices; null before it ever said. */
  line: Count.nullable(),
  sent: Count.nullable(),
  /** As the devices have signed. */
  confirmations: Count,
  ...Had,
  /** What the group lacked: per release the most that one device had from gateway and peers together. */
  lacked: Count,
  /** sent / lacked: how often the bundle left the gateway; null while one of them is unknown or nothing. */
  copies: z.number().nullable(),
});
export const SiteRow = z.strictObject({
  customer: Id,
  site: Id,
  connected: z.boolean(),
  /** As the gateway reports them; null before it ever did. */
  line: z.strictObject({ received: Count, unique: Count }).nullable(),
  /** Bytes of content that the gateway sent to devices, as it reports them. */
  sent: Count.nullable(),
  /** By the devices' confirmations. */
  had: z.strictObject(Had),
  /** sent / unique: how often content that the line brought once left the gateway. */
  copies: z.number().nullable(),
  groups: z.array(z.strictObject({ group: Id, sequence: Count, relayed: Count })),
});
export const LogRow = z.strictObject({ sequence: Count, hash: Sha256, at: Time, actor: z.string(), change: z.looseObject({ type: z.string() }) });

/** One barrier between a device and a release, looked at alone. */
export const BarrierRow = z.strictObject({
  barrier: z.string(),
  /** `none`: there is no such barrier here, or nothing to keep from. */
  state: z.enum(['stands', 'passes', 'none']),
  /** The function that decides, and what it said. */
  rule: z.string(),
  detail: z.string(),
  values: z.record(z.string(), z.union([z.string(), z.number(), z.boolean(), z.null(), z.array(z.string())])),
});
/** A code that devices may enrol with, as far as the provider knows it. */
export const TokenListed = z.strictObject({
  token: TokenId,
  customer: Id,
  site: Id,
  group: Id,
  count: Count,
  used: Count,
  devices: z.array(Id),
  byHand: z.boolean(),
  expires: Time,
  revoked: z.boolean(),
});
/** A device that waits for approval by hand. */
export const PendingRow = z.strictObject({
  customer: Id,
  site: Id,
  group: Id,
  device: Id,
  /** sha256 of its public key: `wardcast agent enrol` shows the same on the device. */
  key: Sha256,
  by: z.enum(['token', 'claim']),
  name: z.string(),
  since: Time,
});
/** A machine whose clock was found wrong by signed time: its own word. Without group and device: the site's gateway. */
export const ClockRow = z.strictObject({
  customer: Id,
  site: Id,
  group: Id.nullable(),
  device: Id.nullable(),
  /** Its clock minus the signed time. */
  seconds: z.int(),
});
/** Something that cannot be right about a device, or of `log-contradicted` about the log, as the gateway of that name keeps it; kept until it is dismissed. */
export const ALARMS = ['enrolment-duplicate', 'clone-suspected', 'log-contradicted'] as const;
export const AlarmRow = z.strictObject({
  type: z.enum(ALARMS),
  customer: Id,
  site: Id,
  device: Id,
  message: z.string(),
  first: Time,
  last: Time,
  count: Count,
});

const action = <P extends z.ZodType, R extends z.ZodType>(params: P, result: R): { params: P; result: R } => ({ params, result });
const None = z.strictObject({});
const Done = z.strictObject({ sequence: Count });
const Reason = z.string().min(1).max(500);
const RevocationDone = Done.extend({ identity: z.string(), until: Time });

/** What a release still lacks: the first of it by name, and how many objects besides. */
const Missing = z.strictObject({ missing: z.array(Sha256), more: Count });

export const OPS_ACTIONS = {
  'customer.add': action(Customer, Done),
  'customer.list': action(None, z.array(CustomerListed)),
  /** The customer left: nobody of it is served any more; its rows stay for audit. */
  'customer.retire': action(z.strictObject({ customer: Id, reason: Reason }), Done),
  'site.add': action(Site, Done),
  'site.list': action(z.strictObject({ customer: Id.optional() }), z.array(Site)),
  'group.add': action(Group, Done),
  'group.list': action(z.strictObject({ customer: Id.optional() }), z.array(Group)),
  'device.add': action(Device, Done),
  /** The device changed group or site: the old group's bundles are no longer for it. */
  'device.move': action(z.strictObject({ customer: Id, device: Id, site: Id, group: Id }), Done),
  'device.remove': action(z.strictObject({ customer: Id, device: Id }), Done),
  /**
   * Certificates of this device issued up to `until` (default: now) are refused from now on: by the provider at once, at its site with the next
   * signed view, which is offered unasked. `site` and `group`: where it was, if it is not registered (there) any more.
   */
  'device.revoke': action(
    z.strictObject({ customer: Id, device: Id, site: Id.optional(), group: Id.optional(), until: Time.optional(), reason: Reason }),
    RevocationDone,
  ),
  /** The same for a gateway: refused by the provider and by all devices of its site. */
  'gateway.revoke': action(z.strictObject({ customer: Id, site: Id, gateway: Id, until: Time.optional(), reason: Reason }), RevocationDone),
  /** The same for an operator, who comes to the provider alone. Nobody revokes himself: the answer could not reach him. */
  'ops.revoke': action(z.strictObject({ name: Id, until: Time.optional(), reason: Reason }), RevocationDone),
  /** Certificates from the group's CAs before generation `oldest` are refused: the end of a changeover begun by `wardcast pki rekey-group`. */
  'group.retire-ca': action(z.strictObject({ customer: Id, group: Id, oldest: z.int().min(2).max(MAX_CA_GENERATION), reason: Reason }), Done),
  /** A new key for the group at one site, or at all (`site` null): who has only the old one reads nothing that is published from now on. */
  'group.rotate-key': action(z.strictObject({ customer: Id, group: Id, site: Id.nullable(), reason: Reason }), Done),
  /** Every revocation of devices, gateways and (without a customer) operators; `travels`: a certificate that it names may still be valid, so signed views carry it. */
  'revocation.list': action(
    z.strictObject({ customer: Id.optional(), site: Id.optional() }),
    z.array(z.strictObject({ identity: z.string(), until: Time, at: Time, reason: z.string(), travels: z.boolean() })),
  ),
  'device.list': action(z.strictObject({ customer: Id.optional(), site: Id.optional(), group: Id.optional() }), z.array(Device)),
  /** What gateways saw on their LANs. */
  'device.seen': action(
    z.strictObject({ customer: Id.optional(), site: Id.optional() }),
    z.array(z.strictObject({ customer: Id, site: Id, ...SeenDevice.shape })),
  ),
  /** First half of publishing: the signed role and the manifest's hash; answers which objects (manifest, chunks) are still to be uploaded on `up/object/<sha256>/<part>/<parts>`. */
  'release.offer': action(
    z.strictObject({ application: Id, version: Version, manifest: Sha256, /** bytes of `release-<application>` metadata, base64 */ role: z.string() }),
    Missing,
  ),
  /** Second half: everything is there; answers with what is still missing, or the published release. */
  'release.publish': action(
    z.strictObject({
      application: Id,
      version: Version,
      manifest: Sha256,
      role: z.string(),
      /** Of an encrypted release: its content keys in base64. Secret: on no log, in no list. */
      contentKeys: z
        .array(z.string().regex(/^[A-Za-z0-9+/]{42}[AEIMQUYcgkosw048]=$/, '32 bytes in base64'))
        .max(MAX_CONTENT_KEYS)
        .optional(),
    }),
    Missing.extend({ release: ReleaseRow.nullable() }),
  ),
  'release.list': action(z.strictObject({ application: Id.optional() }), z.array(ReleaseRow)),
  /** `role`: newly signed metadata without the release, when the release key is at hand. */
  'release.withdraw': action(z.strictObject({ application: Id, version: Version, reason: z.string().max(500), role: z.string().optional() }), Done),
  'current.set': action(CurrentRow, Done),
  'current.list': action(z.strictObject({ customer: Id.optional(), group: Id.optional() }), z.array(CurrentRow)),
  status: action(
    z.strictObject({ customer: Id.optional(), site: Id.optional(), group: Id.optional(), device: Id.optional() }),
    z.strictObject({ devices: z.array(StatusRow), sites: z.array(SiteRow), bundles: z.array(BundleRow), alarms: z.array(AlarmRow), clocks: z.array(ClockRow) }),
  ),
  /** The records that concern a release (and a device), oldest first. */
  trace: action(
    z.strictObject({ application: Id, version: Version, device: Id.optional(), customer: Id.optional() }),
    z.strictObject({ release: ReleaseRow.nullable(), installations: z.array(InstallationRow), entries: z.array(LogRow) }),
  ),
  /** What one device installed, and its newest records, oldest first. Ids of devices are unique within a customer. */
  'trace.device': action(
    z.strictObject({ customer: Id.optional(), device: Id, limit: z.int().min(1).max(MAX_REPLY_ROWS).default(200) }),
    z.strictObject({ device: Device, installations: z.array(InstallationRow), entries: z.array(LogRow) }),
  ),
  /**
   * Every barrier between a device and a release, asked of the functions that the doors ask. With `site` and `group`: as if a certificate said so, whatever
   * the registry says.
   */
  explain: action(
    z.strictObject({ customer: Id.optional(), site: Id.optional(), group: Id.optional(), device: Id, application: Id, version: Version }),
    z.strictObject({
      device: Device,
      release: ReleaseRow,
      /** Groups whose bundles name the release, the first of them, and how many there are. */
      bundles: z.array(z.strictObject({ customer: Id, site: Id, group: Id, sequence: Count, current: z.boolean() })),
      bundleCount: Count,
      barriers: z.array(BarrierRow),
      entitled: z.boolean(),
      verdict: z.string(),
    }),
  ),
  /** Makes known what a code is checked with; the code itself stays with whoever made it. */
  'enrol.token': action(z.strictObject({ customer: Id, site: Id, ...TokenTerms }), Done.extend({ expires: Time })),
  'enrol.tokens': action(z.strictObject({ customer: Id.optional() }), z.array(TokenListed)),
  'enrol.revoke': action(z.strictObject({ token: TokenId }), Done),
  'enrol.list': action(z.strictObject({ customer: Id.optional() }), z.array(PendingRow)),
  /** `key`: all of it or its beginning; absent: the only one that waits under this id. */
  'enrol.decide': action(z.strictObject({ customer: Id, device: Id, key: z.string().max(64).optional(), approved: z.boolean() }), Done.extend({ key: Sha256 })),
  /** The device was repaired or wiped: the next enrolment under this id may bring another key. */
  'enrol.release': action(z.strictObject({ customer: Id, device: Id }), Done),
  /** The alarms about a device were looked into. */
  'alarm.dismiss': action(z.strictObject({ customer: Id, device: Id }), z.strictObject({ dismissed: Count })),
  /** Replays the log into an empty registry and compares. */
  'registry.check': action(None, z.strictObject({ entries: Count, head: Sha256, rows: Count, differences: z.array(z.string()).max(100), intact: z.boolean() })),
  'log.list': action(z.strictObject({ from: Count, limit: z.int().min(1).max(1000) }), z.array(LogRow)),
} as const;

export type OpsAction = keyof typeof OPS_ACTIONS;
export type OpsParams<A extends OpsAction> = z.input<(typeof OPS_ACTIONS)[A]['params']>;
export type OpsResult<A extends OpsAction> = z.output<(typeof OPS_ACTIONS)[A]['result']>;

export function isOpsAction(name: string): name is OpsAction {
  return Object.hasOwn(OPS_ACTIONS, name);
}

/** State changes, published on `wardcast/1/event/<type>`. Lossy: for people and dashboards; truth is asked for. */
const At = { at: Time };
const SiteRef = { customer: Id, site: Id };
export const EVENTS = {
  'registry-changed': z.strictObject({ ...At, entry: LogRow }),
  'bundle-assigned': z.strictObject({
    ...At,
    ...SiteRef,
    group: Id,
    sequence: Count,
    releases: z.array(z.strictObject({ application: Id, version: Version })),
  }),
  'gateway-connected': z.strictObject({ ...At, ...SiteRef, gateway: Id }),
  'gateway-disconnected': z.strictObject({ ...At, ...SiteRef, gateway: Id }),
  /** Certificates are refused from now on: of one identity issued up to `until`, of a group's CAs before a generation, or of a whole customer. */
  revoked: z.strictObject({
    ...At,
    what: z.enum(['device', 'gateway', 'group-ca', 'customer', 'ops']),
    /** Absent: of an operator. */
    customer: Id.optional(),
    identity: z.string().optional(),
    group: Id.optional(),
    oldest: Count.optional(),
    until: Time.optional(),
    reason: z.string(),
  }),
  progress: z.strictObject({ ...At, ...SiteRef, ...Progress.shape }),
  /** A gateway reported: how many device agents it sees, and what its line has carried. */
  'site-seen': z.strictObject({ ...At, ...SiteRef, devices: Count, line: z.strictObject({ received: Count, unique: Count }) }),
  'statement-recorded': z.strictObject({
    ...At,
    ...SiteRef,
    group: Id,
    device: Id,
    counter: Count,
    type: z.enum(['confirmation', 'inventory']),
    application: Id.optional(),
    version: Version.optional(),
    result: z.enum(RESULTS).optional(),
    sources: z.strictObject(Had).optional(),
  }),
  'statement-refused': z.strictObject({ ...At, ...SiteRef, device: Id.optional(), code: z.string(), message: z.string() }),
  /** A gateway keeps a signed head from which the provider's log does not go on. */
  'log-contradicted': z.strictObject({ ...At, ...SiteRef, kept: LogPoint }),
  /** A device waits for approval by hand. */
  'enrolment-pending': z.strictObject({ ...At, ...SiteRef, group: Id, device: Id, key: Sha256 }),
  /** Somebody asked for a certificate in vain; whatever was wrong, that side was told nothing of it. */
  'enrolment-refused': z.strictObject({ ...At, customer: Id.optional(), site: Id.optional(), device: Id.optional(), message: z.string() }),
  'enrolment-duplicate': z.strictObject({ ...At, ...SiteRef, device: Id, message: z.string() }),
  'clone-suspected': z.strictObject({ ...At, ...SiteRef, device: Id, message: z.string() }),
  refused: z.strictObject({ ...At, who: z.string(), topic: z.string(), code: z.string() }),
} as const;
export type EventType = keyof typeof EVENTS;
export type EventBody<T extends EventType> = z.output<(typeof EVENTS)[T]>;
