import { z } from 'zod';
import {
  BUNDLES_SERVED,
  KEY_QUESTIONS_AT_ONCE,
  LEDGER_BUNDLES_TOLD,
  MAX_BUNDLE_REVOKED,
  MAX_CA_GENERATION,
  MAX_RECEIPTS_TOLD,
  MAX_TIME_PATH,
  MAX_WANT_NAMES,
} from '../base/limits.ts';
import { RevokedShape } from '../bundle/bundle.ts';

/** The JSON messages of both legs and of ops. Bulk (`object`) is raw bytes and has no schema. Strict: unknown keys are refused. */

export const Id = z
  .string()
  .regex(/^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$/, 'a DNS label: a–z, 0–9 and inner hyphens, at most 63')
  .meta({ id: 'Id' });
export const Sha256 = z
  .string()
  .regex(/^[0-9a-f]{64}$/, '64 lower-case hex digits')
  .meta({ id: 'Sha256' });
export const Version = z.string().min(1).max(128).meta({ id: 'Version' });
const Count = z.int().min(0);
const Base64 = z.string().regex(/^[A-Za-z0-9+/]*={0,2}$/);

// ── state, told on connect ──────────────────────────────────────────────────────────────────────────────
/** gateway → provider, at every connect. */
export const GatewayHello = z
  .strictObject({
    version: Version,
    /** The newest complete bundle of each group the gateway holds. */
    groups: z.array(z.strictObject({ group: Id, sequence: Count })).max(10_000),
    /** The newest head of the provider's log that the gateway keeps: asks for receipts, none as a rule, whose `since` proves that the log goes on from there. */
    head: z.strictObject({ size: Count, root: Sha256 }).optional(),
  })
  .meta({ id: 'GatewayHello' });
export type GatewayHello = z.infer<typeof GatewayHello>;

/** The machine's clock minus the signed time, in seconds; said while it is known to be wrong. */
const ClockOff = z.int();

/** device → gateway, at every connect, and when its clock was found wrong or right again. The instance is the random id of its mDNS advert; port 0: it serves nothing. */
export const DeviceHello = z
  .strictObject({ version: Version, instance: z.uuid(), port: z.int().min(0).max(65535), clock: ClockOff.exactOptional() })
  .meta({ id: 'DeviceHello' });
export type DeviceHello = z.infer<typeof DeviceHello>;

/** provider → gateway and gateway → group: the newest signed metadata; no content. */
export const Offer = z.strictObject({ group: Id, sequence: Count, timestampVersion: Count }).meta({ id: 'Offer' });
export type Offer = z.infer<typeof Offer>;

/**
 * gateway → group: where devices of the group were last proven to be. A hint; peers are proven by mTLS. And whom the newest signed bundle revokes, told
 * before its content is here: this can only shut doors, and what opens them again is the signed bundle.
 */
export const Peers = z
  .strictObject({
    peers: z.array(z.strictObject({ address: z.string().max(64), port: z.int().min(1).max(65535) })).max(5000),
    revoked: z.array(RevokedShape).max(MAX_BUNDLE_REVOKED).optional(),
    oldestCa: z.int().min(2).max(MAX_CA_GENERATION).optional(),
  })
  .meta({ id: 'Peers' });
export type Peers = z.infer<typeof Peers>;

// ── objects ─────────────────────────────────────────────────────────────────────────────────────────────
export const OBJECT_KINDS = ['metadata', 'target', 'chunk'] as const;
export const ObjectKind = z.enum(OBJECT_KINDS);
export type ObjectKind = z.infer<typeof ObjectKind>;
/** `metadata`: a TUF file name such as `3.snapshot.json`; `target` and `chunk`: a sha256. */
export const ObjectName = z.string().regex(/^[A-Za-z0-9._-]{1,128}$/);
/** puller → server: send me these objects of the group's bundle. Answers: `object/<group>/<kind>/<name>/<part>/<parts>`, or absent. */
export const Want = z.strictObject({ group: Id, kind: ObjectKind, names: z.array(ObjectName).min(1).max(MAX_WANT_NAMES) }).meta({ id: 'Want' });
export type Want = z.infer<typeof Want>;
/** server → puller. `absent` is the same answer for unknown and for not entitled; `busy`: ask again later. */
export const Absent = z
  .strictObject({ group: Id, kind: ObjectKind, names: z.array(ObjectName).max(MAX_WANT_NAMES), reason: z.enum(['absent', 'busy']) })
  .meta({ id: 'Absent' });
export type Absent = z.infer<typeof Absent>;

// ── statements and receipts ─────────────────────────────────────────────────────────────────────────────
/** A signed envelope: `payload` (base64 of UTF-8 JSON) is what is signed, RSA-PSS/SHA-256 with the key of chain[0]. */
export const Signed = z
  .strictObject({
    payload: Base64.max(200_000),
    signature: Base64.max(2000),
    /** Leaf first, DER in base64, without the root. */ chain: z.array(Base64.max(8000)).min(1).max(4),
  })
  .meta({ id: 'Signed' });
export type Signed = z.infer<typeof Signed>;

/** Where a log ends: how many entries it has, and the root of the Merkle tree over them (RFC 9162, section 2.1). */
export const LogPoint = z.strictObject({ size: Count, root: Sha256 }).meta({ id: 'LogPoint' });
export type LogPoint = z.infer<typeof LogPoint>;

export const RESULTS = ['installed', 'failed', 'rolled-back', 'refused'] as const;
const Running = z.strictObject({ version: Version, manifest: Sha256 });
const StatementBase = {
  customer: Id,
  site: Id,
  group: Id,
  device: Id,
  /** Rises by at least one with every statement of this device. */
  counter: z.int().min(1),
  /** The device's clock, for people only: nothing is decided by it. */
  at: z.iso.datetime(),
  /** The newest end of the provider's log that the device was shown and keeps: so the log testifies against whoever rewrites it. */
  head: LogPoint.optional(),
};
/** What happened to one installation, and what runs after it. */
export const Confirmation = z
  .strictObject({
    type: z.literal('confirmation'),
    ...StatementBase,
    application: Id,
    /** What was to be installed. */
    version: Version,
    manifest: Sha256,
    /** The bundle that asked for it. */
    sequence: Count,
    result: z.enum(RESULTS),
    /** Error code and sentence when the result is not `installed`. */
    reason: z.strictObject({ code: z.string().max(64), message: z.string().max(2000) }).optional(),
    /** What runs now, healthy; null: nothing. */
    running: Running.nullable(),
    /** Bytes by source, of this installation. */
    sources: z.strictObject({ gateway: Count, peer: Count, own: Count, patch: Count.optional() }).optional(),
  })
  .meta({ id: 'Confirmation' });
/** All that runs on the device: told at every connect, so that the database heals. */
export const Inventory = z
  .strictObject({
    type: z.literal('inventory'),
    ...StatementBase,
    agent: Version,
    applications: z.array(z.strictObject({ application: Id, ...Running.shape })).max(1000),
  })
  .meta({ id: 'Inventory' });
export const Statement = z.discriminatedUnion('type', [Confirmation, Inventory]).meta({ id: 'Statement' });
export type Confirmation = z.infer<typeof Confirmation>;
export type Inventory = z.infer<typeof Inventory>;
export type Statement = z.infer<typeof Statement>;

/** The provider's word, one per statement: it is on the log. `digest` = sha256 of the statement's payload bytes. */
export const Receipt = z
  .strictObject({
    type: z.literal('receipt'),
    customer: Id,
    site: Id,
    group: Id,
    device: Id,
    counter: z.int().min(1),
    digest: Sha256,
    /** `recorded`: drop it from the outbox. `behind`: not recorded; count on from `highest` and state anew. `refused`: never send it again. */
    outcome: z.enum(['recorded', 'behind', 'refused']),
    /** The highest counter recorded of this device. */
    highest: Count,
    reason: z.string().max(500).optional(),
    /** Position and hash of the record in the provider's log. */
    entry: z.strictObject({ sequence: z.int().min(1), hash: Sha256 }).optional(),
    at: z.iso.datetime(),
  })
  .meta({ id: 'Receipt' });
export type Receipt = z.infer<typeof Receipt>;

/** Hashes of a Merkle path one after the other, lowest first, in base64: 64 at most. */
const Path = Base64.max(2732);
/** That the log of `size` entries is the beginning of the one whose head this comes with (RFC 9162, section 2.1.4). */
const Since = z.strictObject({ size: Count, path: Path });
/** The head that a gateway named in its hello, and the proof from there; without a path: the log does not go on from it. */
const Answer = z.strictObject({ ...LogPoint.shape, path: Path.optional() });
/** What the provider signs, once for many receipts: the end of its log, and the root of the tree over the receipts' bytes. */
export const TreeHead = z.strictObject({ type: z.literal('head'), ...LogPoint.shape, receipts: Sha256, at: z.iso.datetime() }).meta({ id: 'TreeHead' });
export type TreeHead = z.infer<typeof TreeHead>;
/** One receipt and what proves it: its place among the receipts of the head, and that of its entry in the log. */
export const ReceiptProof = z.strictObject({
  /** Base64 of the receipt, UTF-8 JSON: leaf `index` of `of`. */
  receipt: Base64.max(8000),
  index: Count,
  of: z.int().min(1),
  path: Path,
  /** When the receipt names an entry: its path to the head's root. */
  inclusion: Path.optional(),
  /** From the head that the statement named. */
  since: Since.optional(),
});
export type ReceiptProof = z.infer<typeof ReceiptProof>;
/** provider → gateway: receipts under one signed head; gateway → device: that device's. `head.payload` is a TreeHead. */
export const Receipts = z
  .strictObject({ head: Signed, since: Answer.optional(), receipts: z.array(ReceiptProof).max(MAX_RECEIPTS_TOLD) })
  .meta({ id: 'Receipts' });
export type Receipts = z.infer<typeof Receipts>;

// ── time ────────────────────────────────────────────────────────────────────────────────────────────────
/** device → gateway → provider: what is the time? The gateway's nonce is the root of the tree of its devices' (shared/wire/time-tree.ts). */
export const TimeQuestion = z.strictObject({ /** 32 random bytes, used once. */ nonce: Sha256 }).meta({ id: 'TimeQuestion' });
export type TimeQuestion = z.infer<typeof TimeQuestion>;
/** Signed by the provider: at this instant the nonce was known. */
export const TimeStatement = z.strictObject({ type: z.literal('time'), nonce: Sha256, at: z.iso.datetime() }).meta({ id: 'TimeStatement' });
export type TimeStatement = z.infer<typeof TimeStatement>;
/** gateway → device: the provider's word (payload: TimeStatement), and the way from this device's nonce up to the one it names. */
export const TimeAnswer = z
  .strictObject({ signed: Signed, /** Of the nonce among the leaves. */ index: Count, path: z.array(Sha256).max(MAX_TIME_PATH) })
  .meta({ id: 'TimeAnswer' });
export type TimeAnswer = z.infer<typeof TimeAnswer>;

// ── group keys ──────────────────────────────────────────────────────────────────────────────────────────
const Key32 = z.string().regex(/^[A-Za-z0-9+/]{42}[AEIMQUYcgkosw048]=$/, '32 bytes in base64');
/** What a device signs to ask for the keys of its group: answered so that only the holder of the X25519 key can read it (shared/wire/group-key-answer.ts). */
export const KeyQuestion = z
  .strictObject({ type: z.literal('key-question'), customer: Id, site: Id, group: Id, device: Id, /** X25519, made for this question. */ publicKey: Key32 })
  .meta({ id: 'KeyQuestion' });
export type KeyQuestion = z.infer<typeof KeyQuestion>;
/** The question in a signed envelope. */
export const SignedKeyQuestion = Signed.extend({ payload: Base64.max(1000) }).meta({ id: 'SignedKeyQuestion' });
export type SignedKeyQuestion = z.infer<typeof SignedKeyQuestion>;
/** The provider's answer to one device: its own X25519 key of this answer, and GroupKeys under AES-256-GCM. */
export const KeyAnswer = z.strictObject({ /** Of the question. */ question: Key32, publicKey: Key32, sealed: Base64.max(1000) }).meta({ id: 'KeyAnswer' });
export type KeyAnswer = z.infer<typeof KeyAnswer>;
/** gateway → provider: the questions (payload: KeyQuestion) of devices at its site, one of each. */
export const KeyQuestions = z.strictObject({ questions: z.array(SignedKeyQuestion).min(1).max(KEY_QUESTIONS_AT_ONCE) }).meta({ id: 'KeyQuestions' });
export type KeyQuestions = z.infer<typeof KeyQuestions>;
/** provider → gateway: of those that are entitled, and not a word about the others. */
export const KeyAnswers = z
  .strictObject({ answers: z.array(z.strictObject({ group: Id, device: Id, answer: KeyAnswer })).max(KEY_QUESTIONS_AT_ONCE) })
  .meta({ id: 'KeyAnswers' });
export type KeyAnswers = z.infer<typeof KeyAnswers>;
/** What an answer holds: the keys of the epochs of the bundles that are served. */
export const GroupKeys = z.strictObject({ keys: z.array(z.strictObject({ epoch: z.int().min(1), key: Key32 })).max(BUNDLES_SERVED) }).meta({ id: 'GroupKeys' });
export type GroupKeys = z.infer<typeof GroupKeys>;

/** A publish that was refused is told to its sender, since MQTT 3.1.1 cannot. */
export const Refused = z.strictObject({ topic: z.string().max(2048), code: z.string().max(64), message: z.string().max(500) }).meta({ id: 'Refused' });
export type Refused = z.infer<typeof Refused>;

// ── progress ────────────────────────────────────────────────────────────────────────────────────────────
/** Bytes of content by where they came from. */
export const Sources = z.strictObject({ line: Count, gateway: Count, peer: Count, own: Count, patch: Count.default(0) });
export const PHASES = ['relaying', 'relayed', 'fetching', 'staged', 'activating', 'checking', 'done', 'failed'] as const;
/** device → gateway → provider, and gateway → provider. Lossy, for people. */
export const Progress = z
  .strictObject({
    group: Id,
    device: Id.optional(),
    application: Id.optional(),
    version: Version.optional(),
    sequence: Count,
    phase: z.enum(PHASES),
    /** Bytes of content that were missing at the start, and how many of them are here. */
    total: Count,
    done: Count,
    sources: Sources,
    reason: z.string().max(500).optional(),
  })
  .meta({ id: 'Progress' });
export type Progress = z.infer<typeof Progress>;

/** One device agent that the gateway saw: by advert, by certificate, or both. */
export const SeenDevice = z.strictObject({
  instance: z.uuid(),
  address: z.string().max(64),
  port: z.int().min(0).max(65535),
  /** Proven by certificate; null: adverts only, not enrolled (yet). */
  identity: z.strictObject({ group: Id, device: Id }).nullable(),
  connected: z.boolean(),
  firstSeen: z.iso.datetime(),
  lastSeen: z.iso.datetime(),
  /** When a process of this device was last heard after another one had taken its place: two run at once, with one key. */
  contradicted: z.iso.datetime().exactOptional(),
  clock: ClockOff.exactOptional(),
});
export type SeenDevice = z.infer<typeof SeenDevice>;
/** gateway → provider, on change (at most every few seconds): all devices seen and the line's counters. */
export const Seen = z
  .strictObject({
    devices: z.array(SeenDevice).max(5000),
    /** Of the gateway itself. */
    clock: ClockOff.exactOptional(),
    /** Bytes read from the uplink socket since the data directory was made; and the content bytes stored from them, each chunk once. */
    line: z.strictObject({ received: Count, unique: Count }),
    /** Bytes of content: sent to devices since then; and by bundle what the line brought and what was sent. The gateway's own word, unlike confirmations. */
    content: z.strictObject({
      gateway: Count,
      bundles: z.array(z.strictObject({ group: Id, sequence: Count, line: Count, gateway: Count })).max(LEDGER_BUNDLES_TOLD),
    }),
  })
  .meta({ id: 'Seen' });
export type Seen = z.infer<typeof Seen>;

// ── ops ─────────────────────────────────────────────────────────────────────────────────────────────────
/** ops → provider on `up/request`. `action` is a key of OPS_ACTIONS (shared/wire/ops.ts). */
export const OpsRequest = z.strictObject({ id: z.uuid(), action: z.string().max(64), params: z.unknown() }).meta({ id: 'OpsRequest' });
export type OpsRequest = z.infer<typeof OpsRequest>;
export const ErrorBody = z
  .object({
    code: z.string(),
    message: z.string(),
    remedy: z.string().optional(),
    context: z.record(z.string(), z.union([z.string(), z.number(), z.boolean()])).optional(),
  })
  .meta({ id: 'ErrorBody' });
export type ErrorBody = z.infer<typeof ErrorBody>;
/** provider → ops on `down/reply`. */
export const OpsReply = z.strictObject({ id: z.uuid(), ok: z.boolean(), result: z.unknown().optional(), error: ErrorBody.optional() }).meta({ id: 'OpsReply' });
export type OpsReply = z.infer<typeof OpsReply>;
