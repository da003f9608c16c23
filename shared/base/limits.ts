/** Every number that limits something, with unit and reason. Nothing else in the code invents a bound. */

const KiB = 1024;
const MiB = 1024 * KiB;
const SECOND = 1000;
const MINUTE = 60 * SECOND;
const HOUR = 60 * MINUTE;
const DAY = 24 * HOUR;

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
/**
 * Bytes a puller has asked for and not yet received, at most: 100 Mbit/s × 300 ms round trip, with room; less than a kernel's send buffer
 * grows to, which would leave in bursts that routers drop. In general: the base, and what the line delivers in so many round trips.
 */
export const PULL_WINDOW = 4 * MiB;
export const PULL_WINDOW_BASE = 384 * KiB;
export const PULL_WINDOW_TRIPS = 2.5;
/** Objects a puller has asked for and not yet received: small chunks must not flood the other side's queue. */
export const PULL_WINDOW_OBJECTS = 1024;
/** Bytes queued for one puller at the serving side before it answers "busy". */
export const MAX_SEND_QUEUE = 64 * MiB;
/** Milliseconds without any byte of an asked object on a live connection before it is asked for again. */
export const PULL_TIMEOUT = 30 * SECOND;
/** Times an object that fails its hash is asked for again before giving up on this source. */
export const MAX_BAD_OBJECTS = 3;
/** Objects queued for one puller before it is told "busy": four full windows, about a megabyte of names. */
export const MAX_SEND_QUEUE_OBJECTS = 4096;
/** Objects read from disk ahead of the socket for one puller: enough that neither waits for the other. */
export const SEND_READ_AHEAD = 8;
/** Bytes of objects in memory for all pullers together before each has no more than the one it is being sent: reading ahead for 32 of them. */
export const SEND_READ_AHEAD_BYTES = 16 * MiB;
/** Times in a row an object is asked for on a live connection without any answer before it counts as timed out. */
export const MAX_SILENT_ASKS = 4;
/** Bytes per PULL_TIMEOUT that show a large part is on its way over a slow line; pings are fewer. */
export const PULL_ALIVE_BYTES = 1 * KiB;
/** Milliseconds a TLS handshake may take; strangers who stall are dropped. */
export const HANDSHAKE_TIMEOUT = 10 * SECOND;
/** Milliseconds between TLS handshake and MQTT CONNECT. */
export const CONNECT_TIMEOUT = 10 * SECOND;
/** Milliseconds a subscriber may leave the socket unread before it is dropped: it would stall the others (aedes' default is 60 s). */
export const DRAIN_TIMEOUT = 10 * SECOND;
/** Messages to one client that its socket has not taken yet, before it is dropped: each costs a few KiB however small it is, and honest bursts are smaller. */
export const MAX_UNSENT_MESSAGES = 16_384;
/** Connections one door holds at once: 1,000 agents of a site with room for reconnects. */
export const MAX_CONNECTIONS = 4096;
/** Connections that have not proven themselves yet, at once. */
export const MAX_PENDING_HANDSHAKES = 512;
/** Connections one ops certificate may hold at once: a person's terminals and dashboards. */
export const MAX_OPS_SESSIONS = 32;
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
/**
 * Deliveries and bytes waiting between a broker and the code that handles them; then back-pressure. More than a puller's window, since
 * acknowledgements travel in the same stream: a reader that waits for one while its queue is full would wait for ever.
 */
export const MAX_QUEUED_DELIVERIES = 2048;
export const MAX_QUEUED_BYTES = 2 * PULL_WINDOW;
/** Publishes and their bytes of one client that the broker's owner has not accepted yet; then its socket is not read. */
export const MAX_HELD_PUBLISHES = 256;
export const MAX_HELD_BYTES = 4 * MiB;
/** Seconds: the longest MQTT keep-alive a client may ask for; without any, a dead connection would stay for ever. */
export const MAX_KEEPALIVE = 600;
/** Milliseconds a refused connection stays open, so that the reason reaches the other side before the end. */
export const REFUSAL_LINGER = 1 * SECOND;
/** Refused connections logged per second by one door, and refused messages per connection; more are counted, not logged: strangers must not fill the disk. */
export const MAX_LOGGED_REFUSALS = 20;
/** Characters of an error's message in a line of the log. */
export const MAX_LOGGED_MESSAGE = 4000;
/** Chunk hashes in one LAN request and bytes of one LAN answer. */
export const MAX_BATCH_CHUNKS = 128;
export const MAX_BATCH_BYTES = 8 * MiB;
/** Connections one chunk client keeps to one source: one encrypts while the next waits for the disk; more only share the same two cores. */
export const LAN_LANES = 3;
/** Bytes a chunk client reads from one connection at once: a few TLS records. */
export const LAN_READ_BUFFER = 64 * KiB;
/** Chunks a chunk server reads from disk ahead of one socket. */
export const LAN_READ_AHEAD = 8;
/** Milliseconds a LAN request may stay silent. */
export const LAN_TIMEOUT = 20 * SECOND;

/** Milliseconds after which a limited or stopped transfer looks at its rate again: a time window begins and ends about this exactly. */
export const RATE_LOOK_AGAIN = 1 * SECOND;
/** Mbit/s and windows of one rate in a configuration file: far over any line, and any week. */
export const MAX_RATE_MBIT = 1_000_000;
export const MAX_RATE_WINDOWS = 64;

/** Series of one family of metrics: 1,000 sites times what is told of each; more would cost the collector more than they tell. */
export const MAX_METRIC_SERIES = 4096;
/** Connections at the metrics door: a collector has one, and whoever looks by hand another. */
export const MAX_METRICS_CONNECTIONS = 8;
/** Bytes of a request's head at the metrics door. */
export const MAX_METRICS_REQUEST = 8 * KiB;
/** Milliseconds a collector may take for its request, and be silent between two. */
export const METRICS_TIMEOUT = 90 * SECOND;

/** Bytes of a configuration file: a slip such as naming a release instead must not be parsed. */
export const MAX_CONFIG = 1 * MiB;

// ── formats ─────────────────────────────────────────────────────────────────────────────────────────────
/** Bytes: FastCDC bounds, chosen by measurement: docs/decisions/chunk-sizes.md. A chunk with its header fits MAX_PAYLOAD. */
export const CHUNK_MIN = 16 * KiB;
export const CHUNK_AVG = 64 * KiB;
export const CHUNK_MAX = 256 * KiB;
/** Of a chunk's wire form: content that does not compress, and the nonce and tag of its encryption. */
export const MAX_WIRE_CHUNK = CHUNK_MAX + 28;
/** zstd's own default: devices compress again what they pass on, at 200 MB/s and more; higher levels are a tenth as fast for 3 to 5 % less. */
export const CHUNK_ZSTD_LEVEL = 3;
/** A chunk that compresses by less than this share stays as it is: it would cost processor time on every device for nothing. */
export const CHUNK_ZSTD_SAVES = 1 / 16;
/** Earlier releases whose wire forms a new one takes over: the newest, and a few in case the last one was a detour. */
export const REUSED_RELEASES = 3;
/** Content keys that one release names: its own, and those of releases whose chunks it took over. A release with more has chunks sealed anew. */
export const MAX_CONTENT_KEYS = 32;
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
/** Characters of a version (semver 2.0): room for any pre-release label, and safe as a file name. */
export const MAX_VERSION = 128;
/** Characters of the address of an SBOM. */
export const MAX_URL = 2048;
/** Releases in one bundle. */
export const MAX_BUNDLE_RELEASES = 1000;
/** Withdrawn releases named in one bundle: with the releases they stay below MAX_BUNDLE. */
export const MAX_BUNDLE_WITHDRAWN = 4000;
/** Revoked identities named in one bundle; a group that lost more devices within MAX_LEAF_DAYS needs a new CA, which is one number. */
export const MAX_BUNDLE_REVOKED = 500;
/** Bytes of TUF metadata by role; refused before parsing (TUF specification 5.3–5.6). */
export const MAX_ROOT_METADATA = 512 * KiB;
export const MAX_TIMESTAMP_METADATA = 16 * KiB;
export const MAX_SNAPSHOT_METADATA = 2 * MiB;
export const MAX_TARGETS_METADATA = 8 * MiB;
/** New root versions taken in one update (TUF specification 5.3.3): as the reference client. */
export const MAX_ROOT_ROTATIONS = 256;
/** Delegated roles searched for one target (5.6.7.1): as the reference client. */
export const MAX_DELEGATIONS = 32;
/** Milliseconds without a byte from a TUF repository over http (`wardcast tuf-client`) before it counts as gone. */
export const METADATA_REQUEST_TIMEOUT = 30 * SECOND;

/** Bytes of a changed file that a patch is made for: both versions are in memory meanwhile. Larger ones travel as chunks. */
export const MAX_PATCH_FILE = 1024 * MiB;
/** Bytes of two releases together up to which a patch may hold the new one as one zstd frame with the old one as dictionary: both are in memory then. */
export const MAX_PACKED_BYTES = 8 * MiB;
/** Bytes of a patch's own manifest: it lists some thousand chunks at most. */
export const MAX_PATCH_MANIFEST = 1 * MiB;
/** Patches for one release in one bundle: a group that runs more different releases than that gets whole chunks. */
export const MAX_RELEASE_PATCHES = 4;
/** Bytes that a patch may have, as a share of what the release's chunks have that stand in none of the old ones: what saves less is not worth the work. */
export const PATCH_WORTH = 0.7;
/** Bytes of both releases together beyond which no patch is made: it would keep a core busy for minutes. */
export const MAX_PATCHED_BYTES = 2048 * MiB;
/** Milliseconds that a patch may take to be made. */
export const PATCH_MAKE_TIMEOUT = 10 * MINUTE;
/** Milliseconds that a group's bundle waits for its patches; then it goes without. */
export const PATCH_WAIT = 60 * SECOND;
/** Patches that wait to be made; what comes beyond is not made. */
export const MAX_QUEUED_PATCHES = 64;
/** Chunks on their way between a thread that makes or expands a patch and the one that writes them. */
export const PATCH_WINDOW = 4;
/** Bytes of free memory without which a device does not expand a patch: what applyPatch may need, and a thread. */
export const PATCH_MEMORY = 192 * MiB;
/** Milliseconds after which an expansion on a slow device is given up: whole chunks would have come in that time. */
export const PATCH_EXPAND_TIMEOUT = 15 * MINUTE;
/** Operations of one file in a patch: 24 bytes each at the device. */
export const MAX_PATCH_OPERATIONS = 1_000_000;
/** Bytes of one frame of a patch, the unit in which a device reads it. */
export const MAX_PATCH_FRAME = 1 * MiB;

/** Bytes read from a release's file at once: several chunks per read. */
export const READ_SIZE = 2 * MiB;
/** Chunks on their way to the disk while a release is signed: they share directory syncs. */
export const MAX_PUTS_AT_ONCE = 64;

// ── trust ───────────────────────────────────────────────────────────────────────────────────────────────
/** scrypt's N for encrypted key files (RFC 7914), r = 8: 128 MiB and about half a second for each guess, OWASP's first choice. */
export const SCRYPT_COST = 2 ** 17;
/** The highest N that a key file may ask for: a planted one costs no more than 1 GiB. */
export const SCRYPT_MAX_COST = 2 ** 20;
/** Characters of a passphrase at least: a guess costs half a second, a weak one no more guesses than it has. */
export const MIN_PASSPHRASE = 8;
/** Milliseconds a token may take for one answer: people press buttons. */
export const TOKEN_TIMEOUT = 60 * SECOND;
/** Bytes that OpenSC's pkcs11-tool signs in one part; EdDSA in tokens knows no other way. */
export const MAX_TOKEN_MESSAGE = 1024;
/** Root keys, and how many of them must sign: one may be lost, one may be stolen. */
export const ROOT_KEYS = 3;
export const ROOT_THRESHOLD = 2;
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
/** The longest a leaf may be valid: after that many days a revocation has nothing left to name, and leaves the list. */
export const MAX_LEAF_DAYS = 398;
/** Generations of one group's CA: a changeover a year for decades, with room for bad years. */
export const MAX_CA_GENERATION = 999;
/** Milliseconds that a certificate's validity starts before it is made: clocks of closed sites run behind. */
export const CERT_BACKDATE = 60 * MINUTE;
/** Part of a leaf's life after which a daemon asks for the next one: 60 of 90 days, so that a month of failures harms nobody. */
export const LEAF_RENEW_AFTER = 2 / 3;
/** Days after its end in which a leaf still serves to ask for the next one, and for nothing else: a device may have stood in a store for months. */
export const LEAF_RENEW_GRACE_DAYS = 365;
/** Milliseconds between two attempts to renew a leaf, at least and at most; between them a twentieth of what is left of its life; jitter of a half. */
export const LEAF_RETRY_MIN = 1 * SECOND;
export const LEAF_RETRY_MAX = 6 * 60 * MINUTE;
/** Issuing authorities that a provider holds: groups of all customers. */
export const MAX_ISSUERS = 10_000;
/** Bytes of one enrolment message in either direction: a request with a chain of four certificates has about 8 KiB. */
export const MAX_ENROL_MESSAGE = 32 * KiB;
/** Connections at a door that may ask for a certificate at once: they need none to come in, so there are few, and each has this many milliseconds. */
export const MAX_ENROLLING = 32;
export const ENROL_TIMEOUT = 20 * SECOND;
/** Requests for certificates that a door passes on per second on average, and at once: a site of 1,000 devices is through in four minutes; a flood costs the line 40 KiB/s. */
export const ENROL_RATE = 5;
export const ENROL_BURST = 50;
/** Milliseconds before the first and at most before a later attempt to enrol; full jitter. A device that waits for approval by hand is noticed soon enough. */
export const ENROL_RETRY_MIN = 1 * SECOND;
export const ENROL_RETRY_MAX = 5 * MINUTE;
/** scrypt's N for enrolment codes, r = 8: 32 MiB and about 0.1 s on a device. The code has 60 secret bits, which nobody searches. */
export const ENROL_SCRYPT_COST = 2 ** 15;
/** Seconds that a token lasts by default and at most, and devices it may enrol at most. */
export const TOKEN_LIFETIME = 24 * 60 * 60;
export const MAX_TOKEN_LIFETIME = 30 * 24 * 60 * 60;
export const MAX_TOKEN_COUNT = 10_000;
/** Device ids that a token may name. */
export const MAX_TOKEN_DEVICES = 1000;
/** Requests of one customer that wait for approval: claims are shipped, and strangers may hold one. */
export const MAX_PENDING_ENROLMENTS = 1000;

/** Milliseconds that a wall clock may be off, or jump, before it counts as wrong: NTP keeps it within a second, people set it to the minute. */
export const CLOCK_TOLERANCE = 5 * MINUTE;
/** Milliseconds that an unproven wall clock may be ahead of all evidence and still be heard: longer than a device lies in a store, shorter than any absurd date. */
export const WALL_AHEAD_MAX = 5 * 365 * DAY;
/** Milliseconds that a proof of the present holds, by the monotonic clock: an oscillator off by 200 ppm strays 9 s meanwhile. */
export const TIME_PROOF_KEPT = 12 * HOUR;
/** Milliseconds between two proofs of the time: two may fail before the last one is stale. */
export const TIME_INTERVAL = 4 * HOUR;
/** Milliseconds until the time is asked for again when no answer came. */
export const TIME_RETRY = 1 * MINUTE;
/** Milliseconds within which an answer proves the present; a later one still is a lower bound. It is what the time may be off by. */
export const TIME_ROUND_TRIP = 30 * SECOND;
/** Milliseconds for which a gateway gathers the questions of its devices: after a power cut a whole site asks at once, and one signature answers all. */
export const TIME_GATHER = 100;
/** Devices whose questions wait for an answer: more than a broker lets in. */
export const MAX_TIME_QUESTIONS = 20_000;
/** Devices whose questions for a group key wait for the line or an answer: more than a broker lets in. 6 KiB each. */
export const MAX_KEY_QUESTIONS = 5000;
/** Questions for group keys that a gateway passes on in one message: 6 KiB each, far below MAX_CONTROL_MESSAGE, and 10 ms of the provider's processor. */
export const KEY_QUESTIONS_AT_ONCE = 16;
/** Milliseconds until a device that got no answer asks for its group key again, the first time and at most; whoever is not entitled never gets one. */
export const KEY_ASK_MIN = 10 * SECOND;
export const KEY_ASK_MAX = 30 * MINUTE;
/** Levels of the tree of questions that one signature answers: 2^16 devices. */
export const MAX_TIME_PATH = 16;
/** Milliseconds between two looks at the wall clock: how long a jump goes unnoticed. */
export const CLOCK_LOOK = 30 * SECOND;
/** Milliseconds between two writes of the lower bound: so much is lost by a power cut, and flash wears by 9,000 small writes a year. */
export const TIME_SAVE_INTERVAL = 1 * HOUR;

/** Certificates of a chain: leaf, group CA, customer CA, and the root if somebody sends it along. */
export const MAX_CHAIN = 4;
/** Bytes of one certificate (DER) and of a PEM file of a credentials folder: ours have about 1 KiB. */
export const MAX_CERTIFICATE = 6 * KiB;
export const MAX_PEM_FILE = 64 * KiB;
/** Bits of an RSA key: less is too weak, more costs the verifier too much. */
export const MIN_RSA_BITS = 2048;
export const MAX_RSA_BITS = 4096;
/** Trusted roots remembered in parsed form: a daemon has one, and a second while it is exchanged. */
export const MAX_ROOTS = 8;
/** Verified chains remembered, so that a device's next statement costs one RSA verification: 4,096 devices, about 12 KiB each. */
export const MAX_VERIFIED_CHAINS = 4096;

// ── devices ─────────────────────────────────────────────────────────────────────────────────────────────
/** Starts of an uncommitted release before it is rolled back and marked bad. */
export const MAX_FAILED_STARTS = 3;
/** Milliseconds a hook may run by default, and at most when the manifest asks for more. */
export const HOOK_TIMEOUT = 60 * SECOND;
export const MAX_HOOK_TIMEOUT = 60 * MINUTE;
/** Milliseconds between SIGTERM and SIGKILL for a hook that took too long. */
export const HOOK_KILL_GRACE = 2 * SECOND;
/** Milliseconds before a check hook that answered "not yet" (exit 75) is asked again. */
export const CHECK_RETRY = 1 * SECOND;
/** Milliseconds before the first and at most before a later retry of an installation that failed for a passing reason; full jitter. */
export const INSTALL_RETRY_MIN = 1 * SECOND;
export const INSTALL_RETRY_MAX = 10 * MINUTE;
/** Files of a release that are verified, written and synced at once. */
export const STAGE_CONCURRENCY = 64;
/** Files that staging keeps open at once: far below the 1,024 that a process may have by default, doors and connections included. */
export const STAGE_OPEN_FILES = 128;
/** Milliseconds an address of a gateway has to prove itself before the next one is tried. */
export const CANDIDATE_TIMEOUT = 15 * SECOND;
/** Bytes of a hook's output that are kept for the report. */
export const MAX_HOOK_OUTPUT = 4 * KiB;
/** Bytes kept free on the device's disk beyond what a release needs. */
export const FREE_SPACE_RESERVE = 16 * MiB;
/** Bytes fetched between two notes in the journal of where they came from: what a device that dies does not remember. */
export const SOURCES_STEP = 1 * MiB;
/** Chunks read at once from a device's own old releases. */
export const OWN_READ_CONCURRENCY = 16;
/** Chunks fetched at once by an agent. */
export const FETCH_CONCURRENCY = 256;
/** Statements waiting in an outbox: a device that reports every minute for a month. */
export const MAX_OUTBOX = 50_000;
/** Statements of one device waiting in a gateway's outbox: weeks of a device that connects every hour; a hacked one leaves the room to the others. */
export const MAX_OUTBOX_PER_DEVICE = 1000;
/** Corrupt chunks kept for people to look at; more tell nothing new. */
export const MAX_QUARANTINED = 16;
/** Writes that one synced batch of the local database takes: beyond that a batch only gets slower to fail. */
export const MAX_GROUP_COMMIT = 1024;
/** Bytes of a daemon's local database that wait in memory (and on its log) before they are sorted into a file, and of its blocks kept for reading: it is small, and memory is too. */
export const STATE_WRITE_BUFFER = 512 * KiB;
export const STATE_CACHE = 512 * KiB;
/** Milliseconds between progress reports of one device or gateway. */
export const PROGRESS_INTERVAL = 500;
/** Milliseconds between mDNS queries while searching and after having found. */
export const DISCOVERY_INTERVAL_SEARCHING = 1 * SECOND;
export const DISCOVERY_INTERVAL_FOUND = 60 * SECOND;
/** Milliseconds after its last sign of life before a discovered instance is dropped. */
export const DISCOVERY_TTL = 180 * SECOND;
/** Instances one browser remembers: spoofed adverts must not fill memory. */
export const MAX_DISCOVERED = 4096;
/** Of those, from one address: one machine's flood must not take the room of all others. */
export const MAX_DISCOVERED_PER_ADDRESS = 64;

// ── provider ────────────────────────────────────────────────────────────────────────────────────────────
/** Changes written to the log in one synced batch. */
export const LOG_GROUP_COMMIT = 256;
/** Receipts under one signature of the provider: as many as wait while the one before is made, and no more, since all wait for the slowest. */
export const RECEIPTS_PER_HEAD = 4096;
/** Milliseconds before a device says a statement again that its gateway could not take in, for the first time and at most. */
export const STATEMENT_RETRY_MIN = 2 * SECOND;
export const STATEMENT_RETRY_MAX = 5 * MINUTE;
/** Receipts in one message, 1 to 3 KiB each, and the bytes of it after which another one is begun: both keep it below MAX_CONTROL_MESSAGE. */
export const MAX_RECEIPTS_TOLD = 64;
export const RECEIPTS_TOLD_BYTES = 128 * KiB;
/** Certificate chains remembered in the form in which they are kept with the log. */
export const CHAINS_REMEMBERED = 4096;
/** Bytes that level gathers before it sorts them into a file, and holds twice at most: with its own 4 MiB it spends twice the CPU on sorting. */
export const REGISTRY_WRITE_BUFFER = 16 * MiB;
/** Rows of the registry remembered decoded, about 2 KiB each: those of the sites, groups and releases that statements are about, and of a thousand devices. */
export const ROWS_REMEMBERED = 8192;
/** Findings that an audit of the log reports: enough to see a pattern. */
export const AUDIT_FINDINGS = 100;
/** Milliseconds between the check of a statement's certificates and the time its entry carries, at most: it may have queued for the disk meanwhile. */
export const AUDIT_TIME_SLACK = 60_000;
/** Statements under way at once from which on threads of their own verify them; below, starting one costs more than it saves. */
export const CHECK_RUSH = 64;
/** Threads that verify statements, at most: what they prove one thread has to write. */
export const MAX_CHECKERS = 4;
/** Statements given to such a thread at a time, a few milliseconds of work, and how many such batches: one to work on, one that lies ready. */
export const CHECK_BATCH = 64;
export const CHECKER_BATCHES = 2;
/** Milliseconds without work after which these threads end: each takes 20 MiB. */
export const CHECKERS_IDLE = 30 * SECOND;
/** Changes waiting for the log's writer before it answers "busy": a second's worth at the rate aimed at. */
export const MAX_QUEUED_CHANGES = 8192;
/** Milliseconds before what a gateway said is offered to a busy log's writer again: a few of its batches. */
export const BUSY_RETRY = 50;
/** Bytes of objects that came in part, for each ops identity: one manifest of the largest size; the one untouched longest gives way. */
export const MAX_PARTIAL_UPLOADS = 64 * MiB;
/** Objects that announced releases may still upload, over all ops clients. */
export const MAX_EXPECTED_UPLOADS = 1_000_000;
/** Rows of the registry, and their bytes, that are read at once when all are read: larger steps gain nothing. */
export const SCAN_ROWS = 1000;
export const SCAN_BYTES = 512 * KiB;
/** Milliseconds that changes of the registry are gathered before the plan is looked at again: one that is alone is acted upon within 10. */
export const PLAN_DEBOUNCE = 5;
/** Milliseconds before the first and at most before a later attempt at a plan or an assignment that failed; jitter of a half. */
export const PLAN_RETRY_MIN = 1 * SECOND;
export const PLAN_RETRY_MAX = 5 * MINUTE;
/** Manifests whose chunk index is held in memory. */
export const MAX_INDEXED_MANIFESTS = 256;
/** Groups' signed repositories (names and hashes, a few KiB each) held in memory. */
export const MAX_CACHED_REPOSITORIES = 4096;
/** Bundles of a group that can be pulled: the newest, and the one before for a pull that is under way. */
export const BUNDLES_SERVED = 2;
/** Milliseconds at most between two looks for metadata to be renewed: what failed is tried again, and timers stay below 2^31 ms. */
export const RENEWAL_RETRY = 1 * DAY;
/** Object names in one answer to a publisher: 67 bytes each stay below MAX_CONTROL_MESSAGE. The publisher asks again as long as there are more. */
export const MAX_MISSING_NAMES = 3500;
/** Ops requests one ops client may have under way. */
export const MAX_OPS_REQUESTS = 64;
/** Rows in one reply to an ops request. */
export const MAX_REPLY_ROWS = 2000;
/** Bundles that `explain` names, of all that contain a release; how many there are it says besides. */
export const MAX_EXPLAINED_BUNDLES = 50;
/** Bundles of each group and site whose bytes `status` shows: the newest. */
export const BUNDLES_SHOWN = 3;
/** Bytes of chunk cache budget of a gateway by default. */
export const GATEWAY_DISK_BUDGET = 32 * 1024 * MiB;

// ── gateway ─────────────────────────────────────────────────────────────────────────────────────────────
/** Bytes of chunks asked for and not yet on the disk: far more than the puller's window, so that the disk never idles the line. */
export const RELAY_WINDOW = 4 * PULL_WINDOW;
/** Of a limited line: milliseconds' worth of bytes that may be asked for at once, so that late timers cost nothing, and at least so many bytes. */
export const LINE_BURST = 50;
export const LINE_BURST_MIN = 64 * KiB;
/** Milliseconds before the first and at most before a later attempt at a group that failed; full jitter. */
export const RELAY_RETRY_MIN = 1 * SECOND;
export const RELAY_RETRY_MAX = 5 * MINUTE;
/** Groups of one site: far over any hospital's, and hostile offers must not fill memory. */
export const MAX_SITE_GROUPS = 1000;
/** Statements published upward and not yet acknowledged; one group commit of the provider. */
export const STATEMENTS_IN_FLIGHT = 256;
/** Milliseconds after which a statement without a receipt is sent upward again on a living line. */
export const STATEMENT_RESEND = 60 * SECOND;
/** Milliseconds between two questions of a gateway whether the provider's log goes on from the head it keeps: each costs the provider a signature. Asked at every connect besides. */
export const LOG_HEAD_INTERVAL = 10 * MINUTE;
/** Signed heads that a later log contradicted, kept as evidence: the first ones say all there is to say. */
export const MAX_HEADS_ASIDE = 16;
/** Milliseconds between two lists of devices seen: a site that starts reports once, not a thousand times. */
export const SEEN_INTERVAL = 1 * SECOND;
/** Milliseconds more for each device in the list: that of a thousand is told at most every 10 s. */
export const SEEN_INTERVAL_PER_DEVICE = 10;
/** Earlier processes of one device that a gateway remembers, to notice one of them that still runs. */
export const MAX_REPLACED_INSTANCES = 8;
/** Milliseconds after which a device that was only ever advertised is forgotten. */
export const SEEN_KEEP = 7 * DAY;
/** Devices in one list of devices seen (schema `Seen`). */
export const MAX_SEEN = 5000;
/** Milliseconds between two savings of the line's counters while they move. */
export const LEDGER_INTERVAL = 1 * SECOND;
/** Bundles of each group of which the gateway keeps how many bytes moved: the newest, and what devices that were away still finish. */
export const LEDGER_BUNDLES_KEPT = 4;
/** Bundles told of in one list of devices seen: about 25 KiB of it. */
export const LEDGER_BUNDLES_TOLD = 256;
/** Milliseconds a device's request waits for a chunk that proved corrupt on the disk and is pulled again. */
export const REPAIR_TIMEOUT = 10 * SECOND;
/** Installations whose progress is throttled one by one: devices of a site times applications. */
export const MAX_PROGRESS_STREAMS = 20_000;

// ── swarm ───────────────────────────────────────────────────────────────────────────────────────────────
/** Bytes a transfer has asked for and not yet on the disk: 100 ms of what a device takes unshaped; the bound of its memory. */
export const MAX_TRANSFER_BYTES = 16 * MiB;
/** Chunks that may always be asked of one source, whatever its speed: one on its way, one behind it. */
export const SWARM_MIN_ASKS = 2;
/** Bytes asked of one source at once, at most. */
export const SWARM_SOURCE_BYTES = 8 * MiB;
/** Milliseconds of waiting accepted on top of a source's shortest answer: more would wait in the receiver's own queue, and its acknowledgements with it. */
export const SWARM_ALLOWANCE = 50;
/** Milliseconds' worth of passing on that a device may owe its group before it takes more of what nobody else has. */
export const SWARM_DEBT = 1 * SECOND;
/** Milliseconds without an answer after which a chunk is asked for a second time, elsewhere. */
export const SWARM_OVERDUE = 2 * SECOND;
/** A peer that delivers less than this (bytes per second) for this long (milliseconds) while asked is dropped. */
export const SWARM_SLOW_RATE = 16 * KiB;
export const SWARM_SLOW_AFTER = 10 * SECOND;
/** Milliseconds between two looks at what is overdue or slow. */
export const SWARM_TICK = 200;
/** Milliseconds that haves wait for company; those of chunks that nobody else has do not wait. */
export const SWARM_HAVE_DELAY = 100;
/** Milliseconds of that delay for each peer that is told: about twenty frames of haves a second leave a device. */
export const SWARM_HAVE_SPACING = 50;
/** Milliseconds after which the gateway is told what came from others: it only watches how its devices get on, and a thousand of them tell it. */
export const SWARM_REPORT_DELAY = 500;
/** Chunk numbers in one frame, so that a chunk never waits behind more than 64 KiB of them; longer lists are several frames. */
export const MAX_FRAME_INDEXES = 16_384;
/** Bytes that wait for each other to leave a wire in one write: beyond that they gain nothing. */
export const WIRE_BATCH = 256 * KiB;
/** Frames of fewer bytes than this are copied into one buffer when they leave together. */
export const WIRE_SMALL = 4 * KiB;
/** Bytes a wire reads at once: one TLS record is all that node:tls hands over. All wires of a process share them. */
export const WIRE_READ_BUFFER = 64 * KiB;
/** Milliseconds of silence after which a wire ends: dead ones are found by TCP's keep-alive, living ones are worth their memory (an RSA handshake each). */
export const WIRE_IDLE = 1 * DAY;
export const WIRE_KEEPALIVE = 60 * SECOND;
/** Chunks that may always be on their way out of a device or gateway, acknowledged by none yet. */
export const UPLOAD_MIN = 3;
/** Bytes on their way out, at most. */
export const UPLOAD_BYTES = 8 * MiB;
/** Milliseconds of queueing accepted on the way out: acknowledgements wait in the receivers' queues, and the way out must not idle for them meanwhile. */
export const UPLOAD_ALLOWANCE = 100;
/** Milliseconds without an acknowledgement after which a receiver is passed over until it acknowledges. */
export const UPLOAD_STALL = 1 * SECOND;
/** Bytes of one wire that the kernel has not taken, before the other side counts as dead. */
export const MAX_WIRE_UNSENT = 16 * MiB;
/** Bytes worth waking up for while chunks come in, on all wires together. */
export const READ_TURN_BYTES = 64 * KiB;
/** Milliseconds that the thread naps for it: shorter ones save nothing, longer ones would be felt by whoever else waits for it. */
export const READ_NAP_MIN = 2;
export const READ_NAP_MAX = 16;
/** Asks of one peer that wait at most. */
export const MAX_ASKS = 512;
/** Bytes of one wire that the kernel has not taken, before nothing more is written to it. */
export const UPLOAD_UNSENT = 256 * KiB;
/** Transfers one wire may speak of at once. */
export const MAX_WIRE_TRANSFERS = 64;
/** Connections of one device for chunks that a gateway keeps: one, and what a restart or a broken cable left behind. */
export const MAX_DEVICE_WIRES = 4;
/** Peers a device keeps connections to: enough that a group of any size is one well-knit graph (log N hops). */
export const MAX_PEERS = 32;
/** Peers a device looks for itself; the rest of the room is for those that look for it. */
export const WANTED_PEERS = 20;
/** Peers dialled at once, and milliseconds between two dials of addresses that only adverts name: spoofed ones must not make us a nuisance. */
export const MAX_DIALS = 4;
export const ADVERT_DIAL_INTERVAL = 500;
/** Of those dialled at once, addresses that only adverts name: where nobody answers a dial lasts HANDSHAKE_TIMEOUT, and proven ones would wait for it. */
export const MAX_ADVERT_DIALS = 2;
/** Milliseconds a connection to a peer must have lasted for its end to count as peaceful; who turned us away sooner is dialled ever less often. */
export const PEER_SETTLED = 10 * SECOND;
/** Milliseconds before the first and at most before a later attempt at an address that failed. */
export const PEER_RETRY_MIN = 2 * SECOND;
export const PEER_RETRY_MAX = 10 * MINUTE;
/** Addresses of peers remembered. */
export const MAX_PEER_ADDRESSES = 5000;
/** Milliseconds a device keeps its connection for chunks to the gateway when nothing is fetched: latecomers of its group profit. */
export const GATEWAY_WIRE_LINGER = 5 * MINUTE;
/** Milliseconds between two looks at the power supply while something is shared. */
export const POWER_CHECK_INTERVAL = 30 * SECOND;
/** Mbit/s that a device passes on by default: a tenth of the usual port, so that nobody on a clinical network notices. */
export const UPLOAD_MBIT = 100;
/** Wrong chunks from one peer before it is banned, and milliseconds the ban lasts. */
export const MAX_STRIKES = 2;
export const BAN_TIME = 24 * 60 * MINUTE;
/** Bans remembered. */
export const MAX_BANS = 1000;
/** Chunks that nobody asked for, from one source, before it is dropped. */
export const MAX_UNWANTED = 16;
/** Milliseconds without a single chunk after which a transfer gives up; the installation is tried again later. */
export const TRANSFER_PATIENCE = 60 * SECOND;
/** Bytes of verified chunks a device keeps in memory for passing on: what was just received is what is asked for. */
export const UPLOAD_CACHE_BYTES = 16 * MiB;
/** Milliseconds a gateway waits, with nothing new to give, before it gives chunks a second time; and how long the group would still need then. */
export const REPEAT_AFTER = 1 * SECOND;
export const REPEAT_IF_LONGER = 3 * SECOND;
