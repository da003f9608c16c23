import type { TLSSocket } from 'node:tls';
import type { Credentials } from '../../certs/credentials.ts';
import type { Clock } from '../../shared/base/clock.ts';
import { WardcastError } from '../../shared/base/errors.ts';
import { type DeviceIdentity, type Identity, identityPath, type Scope } from '../../shared/base/identity.ts';
import { MAX_UNWANTED, MAX_WIRE_TRANSFERS, SWARM_OVERDUE, SWARM_REPORT_DELAY, SWARM_TICK } from '../../shared/base/limits.ts';
import type { Log } from '../../shared/base/log.ts';
import type { ChunkList } from '../../shared/bundle/manifest.ts';
import type { ServedBundle } from '../../shared/net/chunk-server.ts';
import type { Revocations } from '../../shared/net/revocations.ts';
import { Bitfield } from '../../shared/net/swarm/bitfield.ts';
import type { Channel, ChannelListener, Part } from '../../shared/net/swarm/channel.ts';
import { type EntitledChunks, entitledChunks } from '../../shared/net/swarm/entitled.ts';
import { type Upload, UploadQueue } from '../../shared/net/swarm/upload-queue.ts';
import { Uploads } from '../../shared/net/swarm/uploads.ts';
import type { CallOptions } from '../../shared/store/chunk-source.ts';
import type { Address } from '../locate.ts';
import { Connections } from './connections.ts';
import { type Deliver, Fetching } from './fetching.ts';
import { haveDelay } from './have-delay.ts';
import { Strikes } from './strikes.ts';

/** What this device can give to others. */
export interface Shelf {
  /** Its group's bundle, as createChunkHandler wants it. */
  readonly find: (identity: Identity, scope: Scope) => ServedBundle | undefined;
  /** Is the chunk on the device now? */
  holds(hash: string): boolean;
  /** A verified chunk that was just stored. */
  keep(hash: string, bytes: Buffer): void;
}

export interface SwarmOptions {
  readonly device: DeviceIdentity;
  readonly credentials: Credentials;
  readonly revocations?: Revocations | undefined;
  readonly shelf: Shelf;
  /** Bytes per second that may leave this device; Infinity: no limit. */
  readonly uploadRate: () => number;
  /** False: it passes nothing on at present (battery, metered link, configuration). */
  readonly uploads: () => boolean;
  readonly clock: Clock;
  readonly log: Log;
  readonly random: () => number;
}

interface Contact {
  readonly kind: 'peer' | 'gateway';
  /** What the other side said of each manifest. */
  readonly parts: Map<string, Part>;
  unwanted: number;
}

/**
 * This device's end of the swarm: connections to peers of its group and to the gateway, what is fetched from them, and what is passed on to them.
 * Everybody's certificate was proven, every chunk that is given out was asked of the policy, and every chunk that comes in is verified before
 * it is stored or passed on.
 */
export class Swarm {
  readonly #o: SwarmOptions;
  readonly #connections: Connections;
  readonly #contacts = new Map<Channel, Contact>();
  readonly #fetchings = new Map<string, Fetching>();
  /** Until when chunks of a manifest may still be on their way to us that we no longer want. */
  readonly #ended = new Map<string, number>();
  readonly #strikes = new Strikes();
  readonly #asks = new UploadQueue<Channel>();
  readonly #uploads: Uploads;
  readonly #closing = new AbortController();
  #ticking: Promise<void> | undefined;
  /** Kinds of contacts that are told soon what waits for them. */
  readonly #telling = new Set<Contact['kind']>();

  constructor(options: SwarmOptions) {
    this.#o = options;
    const { device, credentials, revocations, clock, log, random, uploadRate } = options;
    this.#uploads = new Uploads({ next: (may) => this.#asks.next(may), read: (upload) => this.#read(upload), rate: uploadRate, clock, log });
    this.#connections = new Connections({
      device,
      credentials,
      revocations,
      clock,
      log,
      random,
      banned: (who) => this.#strikes.banned(who, clock.monotonic()),
      opened: (channel, kind) => this.#opened(channel, kind),
      unreachable: (error) => {
        // With peers there is hope.
        if (this.#contacts.size === 0) for (const fetching of this.#fetchings.values()) fetching.end(error);
      },
    });
  }

  get peers(): number {
    return this.#connections.peers;
  }

  /** Is a device with this identity one to be let in? */
  isPeer(identity: Identity): boolean {
    return this.#connections.isPeer(identity);
  }

  /** A peer's connection that the door let in. */
  attach(socket: TLSSocket, identity: Identity): void {
    this.#connections.accept(socket, identity);
  }

  /** Addresses of peers that the gateway knows. */
  listed(addresses: readonly Address[]): void {
    this.#connections.listed(addresses);
  }

  /** Adverts: hints, never proofs. */
  advertised(address: Address): void {
    this.#connections.advertised(address);
  }

  withdrawn(address: Address): void {
    this.#connections.withdrawn(address);
  }

  /** What stands on the device has changed: whoever asked for it is told anew. */
  restocked(): void {
    for (const [channel, { parts }] of this.#contacts)
      for (const manifest of parts.keys()) if (channel.joined(manifest) && !this.#fetchings.has(manifest)) this.#join(channel, manifest);
  }

  gatewayAt(address: Address | undefined): void {
    this.#connections.gatewayAt(address);
  }

  /**
   * Fetches the chunks of one manifest that are wanted; the others of it are taken to be here, and passed on. One call per manifest at a time.
   * @throws CONNECTION_LOST when nobody gives anything any more, ABORTED, and what `deliver` throws
   */
  async fetch(manifest: string, list: ChunkList, wanted: ReadonlyMap<string, number>, deliver: Deliver, { signal }: CallOptions = {}): Promise<void> {
    signal?.throwIfAborted();
    const fetching = new Fetching({
      manifest,
      list,
      wanted,
      deliver,
      clock: this.#o.clock,
      random: this.#o.random,
      uploadRate: () => this.#uploads.rate,
      onStored: (index, bytes, from) => this.#stored(fetching, list, index, bytes, from),
      onBad: (from, index) => this.#bad(from, manifest, index),
    });
    const onAbort = (): void => fetching.end(new WardcastError('ABORTED', 'The fetch was cancelled', { cause: signal?.reason }));
    signal?.addEventListener('abort', onAbort, { once: true });
    this.#fetchings.set(manifest, fetching);
    this.#connections.wantGateway(true);
    for (const [channel, contact] of this.#contacts) {
      this.#join(channel, manifest);
      const part = contact.parts.get(manifest);
      if (part !== undefined) fetching.joined(channel, contact.kind, { ...part, have: Bitfield.of(part.have.bytes(), part.have.length) });
    }
    this.#ticking ??= this.#tick().finally(() => {
      this.#ticking = undefined;
    });
    try {
      await fetching.done;
    } finally {
      signal?.removeEventListener('abort', onAbort);
      this.#fetchings.delete(manifest);
      const now = this.#o.clock.monotonic();
      for (const [other, until] of this.#ended) if (until < now) this.#ended.delete(other);
      this.#ended.set(manifest, now + SWARM_OVERDUE);
      this.#tell('gateway');
      this.#tell('peer');
      // It holds what it holds, and wants nothing more.
      for (const channel of this.#contacts.keys()) if (channel.joined(manifest)) this.#sayPart(channel, manifest, { fetching: false, have: fetching.have });
      if (this.#fetchings.size === 0) this.#connections.wantGateway(false);
    }
  }

  async close(): Promise<void> {
    const reason = new WardcastError('ABORTED', 'The agent is stopping');
    this.#closing.abort(reason);
    for (const fetching of this.#fetchings.values()) fetching.end(reason);
    this.#uploads.close();
    this.#connections.close();
    await this.#ticking;
  }

  // ── what is said ──────────────────────────────────────────────────────────────────────────────────────

  #opened(channel: Channel, kind: 'peer' | 'gateway'): void {
    this.#contacts.set(channel, { kind, parts: new Map(), unwanted: 0 });
    channel.listen(this.#listener);
    for (const manifest of this.#fetchings.keys()) this.#join(channel, manifest);
  }

  /** Says what we have and want of a manifest. */
  #join(channel: Channel, manifest: string): void {
    const fetching = this.#fetchings.get(manifest);
    if (fetching !== undefined) {
      this.#sayPart(channel, manifest, { fetching: true, have: fetching.have });
      return;
    }
    const chunks = this.#entitled(channel, manifest);
    if (chunks === undefined) return;
    const have = new Bitfield(chunks.hashes.length);
    chunks.hashes.forEach((hash, index) => {
      if (this.#o.shelf.holds(hash)) have.add(index);
    });
    if (have.size > 0) this.#sayPart(channel, manifest, { fetching: false, have });
  }

  #sayPart(channel: Channel, manifest: string, part: { readonly fetching: boolean; readonly have: Bitfield }): void {
    if (channel.joined(manifest) || this.#makeRoom(channel)) channel.join(manifest, { ...part, uploads: this.#o.uploads() });
  }

  /** A connection lasts for months and sees more releases than it may speak of at once: the oldest that is not being fetched is left. */
  #makeRoom(channel: Channel): boolean {
    const { spoken } = channel;
    if (spoken.length < MAX_WIRE_TRANSFERS) return true;
    const oldest = spoken.find((manifest) => !this.#fetchings.has(manifest));
    if (oldest !== undefined) channel.leave(oldest);
    return oldest !== undefined;
  }

  #stored(fetching: Fetching, list: ChunkList, index: number, bytes: Buffer, from: Channel): void {
    this.#o.shelf.keep(list.hashes[index] ?? '', bytes);
    const { manifest } = fetching;
    // What the gateway gave to us alone is news that others wait for.
    const urgent = this.#contacts.get(from)?.kind === 'gateway';
    for (const channel of fetching.interested(index)) {
      if (channel === from) continue;
      if (urgent) channel.have(manifest, [index]);
      else channel.haveLater(manifest, index);
    }
    for (const [channel, { kind }] of this.#contacts) if (kind === 'gateway' && channel !== from) channel.haveLater(manifest, index);
    this.#tellLater('gateway', SWARM_REPORT_DELAY);
    this.#tellLater('peer', haveDelay(this.#connections.peers));
  }

  #tellLater(kind: Contact['kind'], delay: number): void {
    if (this.#telling.has(kind)) return;
    this.#telling.add(kind);
    this.#o.clock.sleep(delay, { signal: this.#closing.signal }).then(
      () => this.#tell(kind),
      () => undefined,
    );
  }

  #tell(to: Contact['kind']): void {
    this.#telling.delete(to);
    for (const [channel, { kind }] of this.#contacts) if (kind === to) channel.flush();
  }

  // ── what is heard ─────────────────────────────────────────────────────────────────────────────────────

  readonly #listener: ChannelListener = {
    onJoin: (channel, manifest, part) => this.#joined(channel, manifest, part),
    onHave: (channel, manifest, indexes) => this.#has(channel, manifest, indexes),
    onAsk: (channel, manifest, indexes) => this.#asked(channel, manifest, indexes),
    // A device gives what it is asked for, nothing of its own choice.
    onAny: () => undefined,
    onChunk: (channel, manifest, index, bytes) => this.#came(channel, manifest, index, bytes),
    onAbsent: (channel, manifest, index, reason) => this.#fetchings.get(manifest)?.absent(channel, index, reason),
    onCancel: (channel, manifest, indexes) => {
      for (const index of indexes) {
        this.#asks.cancel(channel, manifest, index);
        this.#uploads.done(channel, manifest, index, false);
      }
    },
    onGot: (channel, manifest, index) => {
      this.#uploads.done(channel, manifest, index, true);
      this.#has(channel, manifest, [index]);
    },
    onLeave: (channel, manifest) => {
      this.#contacts.get(channel)?.parts.delete(manifest);
      this.#fetchings.get(manifest)?.left(channel);
      this.#asks.drop(channel, manifest);
    },
    // The gateway has everything, and wants to know how far its devices are.
    lacks: (channel, manifest, index) => {
      const contact = this.#contacts.get(channel);
      return contact?.kind === 'gateway' || contact?.parts.get(manifest)?.have.has(index) !== true;
    },
    onClosed: (channel, error) => {
      this.#contacts.delete(channel);
      for (const fetching of this.#fetchings.values()) fetching.left(channel);
      this.#asks.drop(channel);
      this.#uploads.drop(channel);
      this.#o.log.debug('peer.closed', { peer: identityPath(channel.identity), error });
      this.#connections.closed(channel, error);
    },
  };

  #joined(channel: Channel, manifest: string, part: Part): void {
    const contact = this.#contacts.get(channel);
    if (contact === undefined) return;
    contact.parts.set(manifest, part);
    const fetching = this.#fetchings.get(manifest);
    if (!channel.joined(manifest)) this.#join(channel, manifest);
    fetching?.joined(channel, contact.kind, { ...part, have: Bitfield.of(part.have.bytes(), part.have.length) });
  }

  #has(channel: Channel, manifest: string, indexes: readonly number[]): void {
    const part = this.#contacts.get(channel)?.parts.get(manifest);
    for (const index of indexes) part?.have.add(index);
    this.#fetchings.get(manifest)?.announced(channel, indexes);
  }

  #asked(channel: Channel, manifest: string, indexes: readonly number[]): void {
    const chunks = this.#o.uploads() ? this.#entitled(channel, manifest) : undefined;
    for (const index of indexes) {
      const bytes = chunks?.sizes[index];
      if (bytes === undefined) channel.absent(manifest, index, 'absent');
      else if (!this.#asks.ask({ to: channel, manifest, index, bytes })) channel.absent(manifest, index, 'busy');
    }
    this.#uploads.pump();
  }

  #came(channel: Channel, manifest: string, index: number, bytes: Buffer): void {
    const contact = this.#contacts.get(channel);
    if (contact === undefined || this.#fetchings.get(manifest)?.came(channel, index, bytes) === true) return;
    // Whoever sent it waits for a word: without one it sends us nothing more.
    channel.cancel(manifest, [index]);
    if (this.#o.clock.monotonic() < (this.#ended.get(manifest) ?? 0)) return;
    contact.unwanted += 1;
    // A few may cross with the end of a transfer.
    if (contact.unwanted > MAX_UNWANTED) this.#punish(channel, 'sent chunks that nobody asked for');
  }

  #bad(channel: Channel, manifest: string, index: number): void {
    this.#o.log.warn('peer.bad-chunk', { peer: identityPath(channel.identity), address: channel.address, manifest, index });
    if (this.#contacts.get(channel)?.kind === 'gateway') return;
    if (this.#strikes.strike(identityPath(channel.identity), this.#o.clock.monotonic()))
      this.#punish(channel, 'sent chunks that are not what they claim to be');
  }

  #punish(channel: Channel, what: string): void {
    const peer = identityPath(channel.identity);
    this.#o.log.warn('peer.banned', { peer, address: channel.address, reason: what });
    this.#connections.drop(channel, new WardcastError('PROTOCOL_VIOLATION', `${peer} ${what}`));
  }

  // ── what is given ─────────────────────────────────────────────────────────────────────────────────────

  /** Asks the policy. */
  #entitled(channel: Channel, manifest: string): EntitledChunks | undefined {
    const { shelf, device } = this.#o;
    return entitledChunks(channel.identity, shelf.find(channel.identity, device), manifest);
  }

  async #read({ to, manifest, index }: Upload<Channel>): Promise<Buffer | undefined> {
    return this.#o.uploads() ? this.#entitled(to, manifest)?.read(index) : undefined;
  }

  async #tick(): Promise<void> {
    const { clock, log } = this.#o;
    const { signal } = this.#closing;
    while (this.#fetchings.size > 0 && !signal.aborted) {
      await clock.sleep(SWARM_TICK, { signal }).catch(() => undefined);
      for (const fetching of this.#fetchings.values()) {
        for (const channel of fetching.tick()) {
          log.info('peer.too-slow', { peer: identityPath(channel.identity), address: channel.address });
          this.#connections.drop(channel, new WardcastError('OBJECT_TIMEOUT', `${channel.address} is too slow`));
        }
      }
      this.#uploads.pump();
    }
  }
}
