/** Every number that limits something, with unit and reason. Nothing else in the code invents a bound. */

const KiB = 1024;
const MiB = 1024 * KiB;
const SECOND = 1000;
const MINUTE = 60 * SECOND;
const DAY = 24 * 60 * MINUTE;

// ── wire ────────────────────────────────────────────────────────────────────────────────────────────────
/** Bytes of one MQTT payload: any broker passes it, and a control message never waits behind more. */
export const MAX_PAYLOAD = 1 * MiB;
/** Bytes of one MQTT packet at the guarded door: payload plus topic and header. */
export const MAX_PACKET = MAX_PAYLOAD + 4 * KiB;
/** Bytes before a CONNECT was accepted: client id, no will, no password; strangers get no memory. */
export const MAX_CONNECT_PACKET = 4 * KiB;
/** Bytes of a control message (JSON): statements with a certificate chain are the largest, about 8 KiB. */
export const MAX_CONTROL_MESSAGE = 256 * KiB;
/** Object names in one want: 64 hex digits each stay far below MAX_CONTROL_MESSAGE. */
export const MAX_WANT_NAMES = 512;
/** Bytes a puller has asked for and not yet received: ≥ 100 Mbit/s × 300 ms round trip, with room. */
export const PULL_WINDOW = 8 * MiB;
/** Objects a puller has asked for and not yet received: small chunks must not flood the other side's queue. */
export const PULL_WINDOW_OBJECTS = 1024;
/** Bytes queued for one puller at the serving side before it answers "busy". */
export const MAX_SEND_QUEUE = 64 * MiB;
/** Milliseconds without any byte of an asked object on a live connection before it is asked for again. */
export const PULL_TIMEOUT = 30 * SECOND;
/** Times an object that fails its hash is asked for again before giving up on this source. */
export const MAX_BAD_OBJECTS = 3;
/** Milliseconds a TLS handshake may take; strangers who stall are dropped. */
export const HANDSHAKE_TIMEOUT = 10 * SECOND;
/** Milliseconds between TLS handshake and MQTT CONNECT. */
export const CONNECT_TIMEOUT = 10 * SECOND;
/** Milliseconds a subscriber may leave the socket unread before it is dropped: it would stall the others (aedes' default is 60 s). */
export const DRAIN_TIMEOUT = 10 * SECOND;
/** Connections one door holds at once: 1,000 agents of a site with room for reconnects. */
export const MAX_CONNECTIONS = 4096;
/** Connections that have not proven themselves yet, at once. */
export const MAX_PENDING_HANDSHAKES = 512;
/** Subscriptions one client may hold: the widest role (ops) needs three. */
export const MAX_SUBSCRIPTIONS = 16;
/** Characters of a topic: the longest legal one has 11 ids of 63 characters. */
export const MAX_TOPIC = 1024;
/** Refused publishes of one connection before it is closed: a bug or an attack, not a slip. */
export const MAX_REFUSED_PUBLISHES = 100;
/** Seconds of MQTT keep-alive on the LAN and the line: one 2-byte ping a minute. */
export const KEEPALIVE = 60;
/** Milliseconds before the first and at most before a later reconnect; full jitter (AWS, "Exponential Backoff and Jitter"). */
export const RECONNECT_MIN = 250;
export const RECONNECT_MAX = 15 * SECOND;
/** Milliseconds an ops request waits for its reply. */
export const OPS_TIMEOUT = 30 * SECOND;
/** Deliveries waiting between a broker and the code that handles them; then back-pressure. */
export const MAX_QUEUED_DELIVERIES = 256;
/** Chunk hashes in one LAN request and bytes of one LAN answer. */
export const MAX_BATCH_CHUNKS = 128;
export const MAX_BATCH_BYTES = 8 * MiB;
/** Milliseconds a LAN request may stay silent. */
export const LAN_TIMEOUT = 20 * SECOND;

// ── formats ─────────────────────────────────────────────────────────────────────────────────────────────
/** Bytes: FastCDC bounds. Chosen by measurement, see docs/decisions. */
export const CHUNK_MIN = 16 * KiB;
export const CHUNK_AVG = 64 * KiB;
export const CHUNK_MAX = 256 * KiB;
/** Bytes of a manifest: 100,000 files or 16 GiB in 64 KiB chunks fit. */
export const MAX_MANIFEST = 64 * MiB;
/** Bytes of a bundle: 1,000 releases with room. */
export const MAX_BUNDLE = 1 * MiB;
/** Files of one release. */
export const MAX_FILES = 100_000;
/** Chunks of one release. */
export const MAX_CHUNKS = 1_000_000;
/** Bytes of one file and of one release: 64 GiB, far over any device's disk and far under 2^53. */
export const MAX_FILE_SIZE = 64 * 1024 * MiB;
export const MAX_RELEASE_SIZE = 64 * 1024 * MiB;
/** Bytes (UTF-8) of a path and of one of its names: what ext4, NTFS and APFS all take. */
export const MAX_PATH = 1024;
export const MAX_NAME = 255;
/** Releases in one bundle. */
export const MAX_BUNDLE_RELEASES = 1000;
/** Bytes of TUF metadata by role; refused before parsing (TUF specification 5.3–5.6). */
export const MAX_ROOT_METADATA = 512 * KiB;
export const MAX_TIMESTAMP_METADATA = 16 * KiB;
export const MAX_SNAPSHOT_METADATA = 2 * MiB;
export const MAX_TARGETS_METADATA = 8 * MiB;

// ── trust ───────────────────────────────────────────────────────────────────────────────────────────────
/** Days until signed metadata expires. Offline roles: a ceremony a year. Timestamp: a site works for weeks without the line. */
export const ROOT_LIFETIME_DAYS = 3650;
export const TARGETS_LIFETIME_DAYS = 1095;
export const RELEASE_LIFETIME_DAYS = 1095;
export const ASSIGNMENT_LIFETIME_DAYS = 365;
export const SNAPSHOT_LIFETIME_DAYS = 90;
export const TIMESTAMP_LIFETIME_DAYS = 45;
/** Milliseconds: the provider re-signs a timestamp that has less than this left. */
export const TIMESTAMP_RENEW_BEFORE = 30 * DAY;
/** Days until certificates expire. */
export const ROOT_CA_DAYS = 7300;
export const CUSTOMER_CA_DAYS = 3650;
export const GROUP_CA_DAYS = 3650;
export const LEAF_DAYS = 90;

// ── devices ─────────────────────────────────────────────────────────────────────────────────────────────
/** Starts of an uncommitted release before it is rolled back and marked bad. */
export const MAX_FAILED_STARTS = 3;
/** Milliseconds a hook may run by default, and at most when the manifest asks for more. */
export const HOOK_TIMEOUT = 60 * SECOND;
export const MAX_HOOK_TIMEOUT = 60 * MINUTE;
/** Bytes of a hook's output that are kept for the report. */
export const MAX_HOOK_OUTPUT = 4 * KiB;
/** Bytes kept free on the device's disk beyond what a release needs. */
export const FREE_SPACE_RESERVE = 16 * MiB;
/** Committed releases of an application kept on a device: the running one and the one before. */
export const RELEASES_KEPT = 2;
/** Chunks fetched at once by an agent. */
export const FETCH_CONCURRENCY = 256;
/** Statements waiting in an outbox: a device that reports every minute for a month. */
export const MAX_OUTBOX = 50_000;
/** Milliseconds between progress reports of one device or gateway. */
export const PROGRESS_INTERVAL = 500;
/** Milliseconds between mDNS queries while searching and after having found. */
export const DISCOVERY_INTERVAL_SEARCHING = 1 * SECOND;
export const DISCOVERY_INTERVAL_FOUND = 60 * SECOND;
/** Milliseconds after its last sign of life before a discovered instance is dropped. */
export const DISCOVERY_TTL = 180 * SECOND;
/** Instances one browser remembers: spoofed adverts must not fill memory. */
export const MAX_DISCOVERED = 4096;

// ── provider ────────────────────────────────────────────────────────────────────────────────────────────
/** Changes written to the log in one synced batch. */
export const LOG_GROUP_COMMIT = 256;
/** Milliseconds that changes of the registry are gathered before the plan is looked at again. */
export const PLAN_DEBOUNCE = 20;
/** Manifests whose chunk index is held in memory. */
export const MAX_INDEXED_MANIFESTS = 256;
/** Rows in one reply to an ops request. */
export const MAX_REPLY_ROWS = 2000;
/** Bytes of chunk cache budget of a gateway by default. */
export const GATEWAY_DISK_BUDGET = 32 * 1024 * MiB;
