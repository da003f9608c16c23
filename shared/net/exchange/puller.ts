import type { Clock } from '../../base/clock.ts';
import { isWardcastError, toWardcastError, WardcastError } from '../../base/errors.ts';
import type { Identity } from '../../base/identity.ts';
import {
  CHUNK_AVG,
  MAX_BAD_OBJECTS,
  MAX_CONTROL_MESSAGE,
  MAX_SILENT_ASKS,
  MAX_WANT_NAMES,
  PULL_ALIVE_BYTES,
  PULL_TIMEOUT,
  PULL_WINDOW_BASE,
  PULL_WINDOW_OBJECTS,
  RECONNECT_MAX,
  RECONNECT_MIN,
} from '../../base/limits.ts';
import type { Log } from '../../base/log.ts';
import { checkContent } from '../../store/chunk-name.ts';
import { Absent } from '../../wire/messages.ts';
import { down, parseDown, up } from '../../wire/topics.ts';
import type { Delivery, Link } from '../broker.ts';
import { Assembly } from './assembly.ts';
import { LineDepth } from './line-depth.ts';
import { MAX_OBJECT, type ObjectRef, parseObjectTopic, refKey } from './object-ref.ts';
import { PullEntry } from './pull-entry.ts';
import { unpackTarget } from './target-form.ts';
import { CreditWindow } from './window.ts';

/** Bytes that a chunk costs beyond itself: topic, MQTT header, TLS records. */
const CHUNK_OVERHEAD = 256;

/** What a puller needs of a connection. */
export type PullLink = Pick<Link, 'publish' | 'subscribe' | 'onState' | 'state'> & Partial<Pick<Link, 'traffic'>>;

export interface GetOptions {
  /** Bytes it will have, when known: for the credit, and as its bound. */
  readonly size?: number;
  /** Bytes it may have at most. */
  readonly maxBytes?: number;
  readonly signal?: AbortSignal | undefined;
}

export interface PullerOptions {
  readonly link: PullLink;
  readonly identity: Identity;
  readonly log: Log;
  readonly clock: Clock;
  /** A fixed window; else it follows the line. */
  readonly window?: { readonly bytes: number; readonly objects: number };
  /** Asked before each chunk, with its bytes on the line: 0, or milliseconds until it may be tried again. What comes is paced by what is asked for. */
  readonly pace?: (bytes: number) => number;
  readonly random?: () => number;
}

/**
 * Pulls objects over one MQTT connection: asks under a credit window, verifies by hash, asks again for what got lost. Signed files go before
 * chunks, and neither window nor pace holds them up: they are few, and everything waits for them.
 * One per connection. Nothing is sent while the link is down; what was asked for is asked again at the next connect.
 */
export class ObjectPuller {
  readonly #link: PullLink;
  readonly #identity: Identity;
  readonly #log: Log;
  readonly #clock: Clock;
  readonly #random: () => number;
  readonly #window: CreditWindow;
  /** Undefined: the window is fixed. */
  readonly #depth: LineDepth | undefined;
  readonly #pace: (bytes: number) => number;
  /** Every object somebody waits for is in exactly one of these; `resting` ones were refused as busy. */
  readonly #urgent = new Map<string, PullEntry>();
  readonly #queued = new Map<string, PullEntry>();
  readonly #asked = new Map<string, PullEntry>();
  readonly #resting = new Map<string, PullEntry>();
  readonly #closing = new AbortController();
  readonly #stopListening: () => void;
  #pumpScheduled = false;
  #pausing = false;
  #watching = false;
  #arrivals = 0;

  constructor(options: PullerOptions) {
    this.#link = options.link;
    this.#identity = options.identity;
    this.#log = options.log;
    this.#clock = options.clock;
    this.#random = options.random ?? Math.random;
    this.#window = new CreditWindow(options.window ?? { bytes: PULL_WINDOW_BASE, objects: PULL_WINDOW_OBJECTS });
    this.#depth = options.window === undefined ? new LineDepth() : undefined;
    this.#pace = options.pace ?? (() => 0);
    this.#stopListening = this.#link.onState((state) => {
      if (state === 'up') this.#reconnected();
    });
    void this.#receive();
  }

  /**
   * @returns the object's bytes; targets and chunks are verified against their name, metadata is not (TUF does that)
   * @throws OBJECT_ABSENT, OBJECT_TIMEOUT, HASH_MISMATCH and LIMIT_EXCEEDED after MAX_BAD_OBJECTS attempts, CONNECTION_LOST when closed
   */
  async get(ref: ObjectRef, { size, maxBytes, signal }: GetOptions = {}): Promise<Buffer> {
    signal?.throwIfAborted();
    this.#closing.signal.throwIfAborted();
    const key = refKey(ref);
    let entry = this.#urgent.get(key) ?? this.#queued.get(key) ?? this.#asked.get(key) ?? this.#resting.get(key);
    if (entry === undefined) {
      entry = new PullEntry({ ref, key, size: size ?? CHUNK_AVG, max: maxBytes ?? size ?? MAX_OBJECT[ref.kind] });
      this.#queueOf(entry).set(key, entry);
      this.#schedulePump();
    }
    return entry.wait(signal, () => {
      this.#urgent.delete(key);
      this.#queued.delete(key);
      this.#resting.delete(key);
    });
  }

  /** Bytes and objects asked for and not here yet, and objects that wait for credit. */
  get outstanding(): { readonly bytes: number; readonly objects: number; readonly waiting: number } {
    return { bytes: this.#window.bytes, objects: this.#window.objects, waiting: this.#urgent.size + this.#queued.size + this.#resting.size };
  }

  close(): void {
    const reason = new WardcastError('CONNECTION_LOST', 'The connection that objects were pulled over was closed');
    this.#stopListening();
    this.#closing.abort(reason);
    for (const entries of [this.#urgent, this.#queued, this.#asked, this.#resting]) {
      for (const entry of entries.values()) entry.reject(reason);
      entries.clear();
    }
  }

  // ── asking ────────────────────────────────────────────────────────────────────────────────────────────

  /** After what the socket still holds was read: the more requests share a message. */
  #schedulePump(): void {
    if (this.#pumpScheduled) return;
    this.#pumpScheduled = true;
    setImmediate(() => {
      this.#pumpScheduled = false;
      this.#pump();
    });
  }

  #pump(): void {
    if (this.#link.state !== 'up') return;
    const asking = [...this.#urgent.values()];
    this.#urgent.clear();
    if (!this.#pausing && this.#queued.size > 0 && this.#window.worthAsking) {
      for (const entry of this.#queued.values()) {
        if (!this.#window.fits(entry.size) || !this.#mayPass(entry)) break;
        this.#window.take(entry.size);
        this.#queued.delete(entry.key);
        asking.push(entry);
      }
    }
    for (const entry of asking) this.#asked.set(entry.key, entry);
    this.#ask(asking);
  }

  /** Else it is looked at again when the pace allows. */
  #mayPass(entry: PullEntry): boolean {
    const wait = this.#pace(entry.size + CHUNK_OVERHEAD);
    if (wait <= 0) return true;
    this.#pausing = true;
    void this.#clock
      .sleep(wait, { signal: this.#closing.signal })
      .catch(() => undefined)
      .then(() => {
        this.#pausing = false;
        if (!this.#closing.signal.aborted) this.#pump();
      });
    return false;
  }

  #queueOf(entry: PullEntry): Map<string, PullEntry> {
    return entry.ref.kind === 'chunk' ? this.#queued : this.#urgent;
  }

  #ask(entries: readonly PullEntry[]): void {
    const batches = new Map<string, PullEntry[]>();
    const now = this.#clock.monotonic();
    for (const entry of entries) {
      // Whatever came of it before the connection broke comes again, from the start.
      entry.assembly = undefined;
      entry.asked = this.#depth?.ask(now);
      const place = `${entry.ref.group}/${entry.ref.kind}`;
      const batch = batches.get(place);
      if (batch === undefined) batches.set(place, [entry]);
      else batch.push(entry);
    }
    for (const batch of batches.values()) {
      for (let at = 0; at < batch.length; at += MAX_WANT_NAMES) this.#publishWant(batch.slice(at, at + MAX_WANT_NAMES));
    }
    if (entries.length > 0) this.#watch();
  }

  #publishWant(entries: readonly PullEntry[]): void {
    const [first] = entries;
    if (first === undefined) return;
    const want = { group: first.ref.group, kind: first.ref.kind, names: entries.map((entry) => entry.ref.name) };
    // QoS 0: a client library would send a QoS 1 want again after a reconnect, next to ours, and every object would come twice.
    this.#link.publish(up(this.#identity, 'want'), Buffer.from(JSON.stringify(want)), { qos: 0, signal: this.#closing.signal }).catch((error: unknown) => {
      if (!this.#closing.signal.aborted) this.#log.debug('pull.want-lost', { group: want.group, kind: want.kind, objects: entries.length, error });
    });
  }

  #reconnected(): void {
    this.#dropForsaken();
    this.#depth?.forget();
    this.#ask([...this.#asked.values()]);
    this.#schedulePump();
  }

  #dropForsaken(): void {
    for (const entry of this.#asked.values()) if (entry.forsaken) this.#finish(entry);
  }

  // ── watching ──────────────────────────────────────────────────────────────────────────────────────────

  /** Runs only while something is on its way, so that an idle daemon sleeps. */
  #watch(): void {
    if (this.#watching) return;
    this.#watching = true;
    this.#watchSilence()
      .catch((error: unknown) => {
        if (!this.#closing.signal.aborted) this.#log.error('pull.watch-failed', { error });
      })
      .finally(() => {
        this.#watching = false;
      });
  }

  async #watchSilence(): Promise<void> {
    while (this.#asked.size > 0) {
      const arrivals = this.#arrivals;
      const received = this.#link.traffic?.().received ?? 0;
      await this.#clock.sleep(PULL_TIMEOUT, { signal: this.#closing.signal });
      const grown = (this.#link.traffic?.().received ?? 0) - received;
      if (this.#link.state !== 'up' || this.#arrivals !== arrivals || grown >= PULL_ALIVE_BYTES) continue;
      this.#dropForsaken();
      for (const entry of this.#asked.values()) {
        entry.silent += 1;
        if (entry.silent >= MAX_SILENT_ASKS) this.#fail(entry, timedOut(entry));
      }
      this.#log.warn('pull.silence', { objects: this.#asked.size });
      this.#ask([...this.#asked.values()]);
      this.#schedulePump();
    }
  }

  // ── receiving ─────────────────────────────────────────────────────────────────────────────────────────

  async #receive(): Promise<void> {
    const filters = [`${down(this.#identity, 'object')}/#`, down(this.#identity, 'absent')];
    try {
      for await (const delivery of this.#link.subscribe(filters, { signal: this.#closing.signal })) {
        this.#handle(delivery);
        delivery.accept();
      }
    } catch (error) {
      if (!this.#closing.signal.aborted) this.#log.error('pull.receive-failed', { error });
    }
    if (!this.#closing.signal.aborted) this.close();
  }

  #handle(delivery: Delivery): void {
    const topic = parseDown(this.#identity, delivery.topic);
    if (topic?.verb === 'absent') this.#handleAbsent(delivery.payload);
    if (topic?.verb !== 'object') return;
    const object = parseObjectTopic(topic.rest);
    const entry = object === undefined ? undefined : this.#asked.get(refKey(object.ref));
    if (object === undefined || entry === undefined) {
      this.#log.debug('pull.unasked', { topic: delivery.topic, bytes: delivery.payload.length });
      return;
    }
    this.#arrivals += 1;
    entry.silent = 0;
    try {
      if (entry.assembly?.parts !== object.parts) entry.assembly = new Assembly(object.parts, entry.max);
      const came = entry.assembly.add(object.part, delivery.payload);
      if (came === undefined) return;
      const whole = entry.ref.kind === 'target' ? unpackTarget(came, entry.max) : came;
      if (entry.ref.kind !== 'metadata') checkContent(entry.ref.name, whole, 'the other side');
      this.#measure(entry, whole.length);
      this.#finish(entry);
      entry.resolve(whole);
    } catch (error) {
      this.#spoilt(entry, error);
    }
    this.#schedulePump();
  }

  #measure({ ref, asked }: PullEntry, bytes: number): void {
    if (this.#depth === undefined || asked === undefined || ref.kind !== 'chunk') return;
    this.#depth.arrive(asked, bytes, this.#clock.monotonic());
    this.#window.resize(this.#depth.bytes);
  }

  #spoilt(entry: PullEntry, error: unknown): void {
    entry.bad += 1;
    this.#log.warn('pull.bad-object', { ...entry.ref, attempt: entry.bad, error });
    // Metadata has no hash that a second attempt could meet.
    if (entry.bad >= MAX_BAD_OBJECTS || entry.ref.kind === 'metadata' || !isWardcastError(error)) this.#fail(entry, toWardcastError(error));
    else this.#ask([entry]);
  }

  #handleAbsent(payload: Buffer): void {
    if (payload.length > MAX_CONTROL_MESSAGE) return;
    const message = Absent.safeParse(parseJson(payload));
    if (!message.success) {
      this.#log.warn('pull.bad-message', { error: message.error });
      return;
    }
    const { group, kind, names, reason } = message.data;
    this.#arrivals += 1;
    const refused = names.map((name) => this.#asked.get(refKey({ group, kind, name }))).filter((entry) => entry !== undefined);
    if (reason === 'busy') void this.#rest(refused);
    else for (const entry of refused) this.#fail(entry, absent(entry));
    this.#schedulePump();
  }

  /** The other side is busy: the credit is free for others, and these are asked for again later. */
  async #rest(entries: readonly PullEntry[]): Promise<void> {
    let most = 0;
    for (const entry of entries) {
      this.#finish(entry);
      if (entry.forsaken) continue;
      entry.busy += 1;
      most = Math.max(most, entry.busy);
      this.#resting.set(entry.key, entry);
    }
    try {
      await this.#clock.sleep(this.#random() * Math.min(RECONNECT_MAX, RECONNECT_MIN * 2 ** most), { signal: this.#closing.signal });
    } catch {
      // Closed: close() has told everybody.
      return;
    }
    for (const entry of entries) if (this.#resting.delete(entry.key)) this.#queueOf(entry).set(entry.key, entry);
    this.#schedulePump();
  }

  #finish(entry: PullEntry): void {
    if (this.#asked.delete(entry.key) && entry.ref.kind === 'chunk') this.#window.give(entry.size);
  }

  #fail(entry: PullEntry, error: WardcastError): void {
    this.#finish(entry);
    entry.reject(error);
  }
}

function parseJson(bytes: Buffer): unknown {
  try {
    return JSON.parse(bytes.toString('utf8'));
  } catch {
    // Undefined fits no schema: the caller reports it.
    return undefined;
  }
}

function absent({ ref }: PullEntry): WardcastError {
  return new WardcastError('OBJECT_ABSENT', `The other side has no ${ref.kind} ${ref.name} for group ${ref.group}, or it is not for us`, {
    context: { group: ref.group, kind: ref.kind, name: ref.name },
  });
}

function timedOut({ ref }: PullEntry): WardcastError {
  return new WardcastError('OBJECT_TIMEOUT', `Asked ${MAX_SILENT_ASKS} times for ${ref.kind} ${ref.name} of group ${ref.group} without any answer`, {
    remedy: 'The connection is up but the other side does not answer: look at its log.',
    context: { group: ref.group, kind: ref.kind, name: ref.name },
  });
}
