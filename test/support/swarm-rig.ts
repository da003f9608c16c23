import { randomBytes } from 'node:crypto';
import { Swarm, type SwarmOptions } from '../../agent/swarm/swarm.ts';
import { Seeder } from '../../gateway/seed/seeder.ts';
import type { Clock } from '../../shared/base/clock.ts';
import { systemClock } from '../../shared/base/clock.ts';
import { type DeviceIdentity, sameScope } from '../../shared/base/identity.ts';
import { silentLog } from '../../shared/base/log.ts';
import { sha256 } from '../../shared/bundle/digest.ts';
import type { ChunkList } from '../../shared/bundle/manifest.ts';
import { type Door, openDoor } from '../../shared/net/door.ts';
import { entitledChunks } from '../../shared/net/swarm/entitled.ts';
import type { ChunkOrigin } from '../../shared/store/chunk-fetcher.ts';
import { mayEnter } from '../../shared/wire/policy.ts';
import type { Workshop } from './bad-certificates.ts';
import { credentialsOf, DEVICE_A, GATEWAY } from './broker-rig.ts';
import { RecordingLog } from './recording-log.ts';
import { MemoryBundle } from './served-chunks.ts';

/** A release as the swarm sees it: chunks under a manifest's hash. */
export interface Parcel {
  readonly manifest: string;
  readonly list: ChunkList;
  readonly chunks: ReadonlyMap<string, Buffer>;
}

export function parcelOf(count: number, size = 48 * 1024): Parcel {
  const chunks = new Map(
    Array.from({ length: count }, () => {
      const bytes = randomBytes(size);
      return [sha256(bytes), bytes] as const;
    }),
  );
  const hashes = [...chunks.keys()];
  return { manifest: sha256(Buffer.from(hashes.join())), list: { hashes, sizes: hashes.map(() => size) }, chunks };
}

const at = (door: Door): { host: string; port: number } => ({ host: '127.0.0.1', port: door.port });

/** The gateway's end of the swarm behind its real door; `bundle.reads` are the chunks that left it. */
export class SeedingGateway {
  readonly bundle = new MemoryBundle(DEVICE_A);
  readonly #seeder: Seeder;
  #door: Door | undefined;

  private constructor() {
    this.#seeder = new Seeder({
      lacking: () => undefined,
      find: (device, manifest) => entitledChunks(device, sameScope(device, this.bundle.scope) ? this.bundle : undefined, manifest),
      rate: () => Number.POSITIVE_INFINITY,
      sent: () => undefined,
      clock: systemClock,
      log: silentLog,
      random: Math.random,
    });
  }

  static async open(workshop: Workshop, parcel: Parcel): Promise<SeedingGateway> {
    const gateway = new SeedingGateway();
    stock(gateway.bundle, parcel);
    gateway.#door = await openDoor({
      host: '127.0.0.1',
      port: 0,
      credentials: credentialsOf(workshop.leaf(GATEWAY), GATEWAY),
      log: silentLog,
      clock: systemClock,
      accept: (identity) => identity.role === 'device',
      onSwarm: (socket, identity) => gateway.#seeder.attach(socket, identity),
    });
    return gateway;
  }

  get address(): { host: string; port: number } {
    if (this.#door === undefined) throw new Error('the door is not open');
    return at(this.#door);
  }

  async close(): Promise<void> {
    await this.#seeder.close();
    await this.#door?.close();
  }
}

export interface SwarmDeviceOptions extends Partial<Pick<SwarmOptions, 'uploads' | 'uploadRate'>> {
  readonly clock?: Clock;
  /** What an earlier life left. */
  readonly had?: ReadonlyMap<string, Buffer>;
}

/** One device: the agent's Swarm behind its real door, over chunks in memory. */
export class SwarmDevice {
  readonly identity: DeviceIdentity;
  readonly log = new RecordingLog();
  /** What it holds; `reads` are the chunks it passed on. */
  readonly bundle: MemoryBundle;
  readonly swarm: Swarm;
  readonly came: { readonly hash: string; readonly from: ChunkOrigin }[] = [];
  readonly #parcel: Parcel;
  readonly #waiting = new Set<() => void>();
  #door: Door | undefined;

  private constructor(workshop: Workshop, identity: DeviceIdentity, parcel: Parcel, options: SwarmDeviceOptions) {
    this.identity = identity;
    this.#parcel = parcel;
    this.bundle = new MemoryBundle(identity);
    this.bundle.manifests.set(parcel.manifest, parcel.list);
    for (const [hash, bytes] of options.had ?? []) this.bundle.chunks.set(hash, bytes);
    this.swarm = new Swarm({
      device: identity,
      credentials: credentialsOf(workshop.leaf(identity), identity),
      shelf: {
        find: (_identity, scope) => (sameScope(scope, identity) ? this.bundle : undefined),
        holds: (hash) => this.bundle.has(hash),
        keep: () => undefined,
      },
      uploadRate: options.uploadRate ?? (() => Number.POSITIVE_INFINITY),
      uploads: options.uploads ?? (() => true),
      clock: options.clock ?? systemClock,
      log: this.log,
      random: Math.random,
    });
  }

  static async open(workshop: Workshop, identity: DeviceIdentity, parcel: Parcel, options: SwarmDeviceOptions = {}): Promise<SwarmDevice> {
    const device = new SwarmDevice(workshop, identity, parcel, options);
    device.#door = await openDoor({
      host: '127.0.0.1',
      port: 0,
      credentials: credentialsOf(workshop.leaf(identity), identity),
      log: device.log,
      clock: systemClock,
      accept: (other) => mayEnter(identity, other),
      onSwarm: (socket, other) => device.swarm.attach(socket, other),
    });
    return device;
  }

  get address(): { host: string; port: number } {
    if (this.#door === undefined) throw new Error('the door is not open');
    return at(this.#door);
  }

  /** Resolves when both have each other for a peer. */
  async meets(other: SwarmDevice): Promise<void> {
    this.swarm.listed([other.address]);
    await Promise.all([this.log.seen('peer.connected'), other.log.seen('peer.connected')]);
  }

  /** Fetches what it lacks. */
  async fetch(options: { signal?: AbortSignal } = {}): Promise<void> {
    const { manifest, list } = this.#parcel;
    const wanted = new Map(list.hashes.flatMap((hash, index) => (this.bundle.has(hash) ? [] : [[hash, list.sizes[index] ?? 0] as const])));
    await this.swarm.fetch(
      manifest,
      list,
      wanted,
      async (hash, bytes, from) => {
        if (!wanted.has(hash) || this.bundle.has(hash)) throw new Error('delivered twice, or what nobody wants');
        if (sha256(bytes) !== hash) throw new Error('delivered unverified');
        this.bundle.chunks.set(hash, Buffer.from(bytes));
        this.came.push({ hash, from });
        for (const wake of this.#waiting) wake();
        this.#waiting.clear();
      },
      options,
    );
  }

  /** Resolves when so many chunks were delivered to it. */
  async has(count: number): Promise<void> {
    while (this.came.length < count) await new Promise<void>((resolve) => this.#waiting.add(resolve));
  }

  get complete(): boolean {
    return this.#parcel.list.hashes.every((hash) => this.bundle.has(hash));
  }

  from(origin: ChunkOrigin): number {
    return this.came.filter(({ from }) => from === origin).length;
  }

  async close(): Promise<void> {
    await this.swarm.close();
    await this.#door?.close();
  }
}

export function stock(bundle: MemoryBundle, parcel: Parcel): void {
  bundle.manifests.set(parcel.manifest, parcel.list);
  for (const [hash, bytes] of parcel.chunks) bundle.chunks.set(hash, bytes);
}
