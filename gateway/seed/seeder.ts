import type { TLSSocket } from 'node:tls';
import type { Clock } from '../../shared/base/clock.ts';
import { WardcastError } from '../../shared/base/errors.ts';
import { type DeviceIdentity, type Identity, identityPath } from '../../shared/base/identity.ts';
import { MAX_DEVICE_WIRES, SWARM_TICK } from '../../shared/base/limits.ts';
import type { Log } from '../../shared/base/log.ts';
import { Bitfield } from '../../shared/net/swarm/bitfield.ts';
import { Channel, type ChannelListener, type Part } from '../../shared/net/swarm/channel.ts';
import type { EntitledChunks } from '../../shared/net/swarm/entitled.ts';
import { type Upload, UploadQueue } from '../../shared/net/swarm/upload-queue.ts';
import { Uploads } from '../../shared/net/swarm/uploads.ts';
import { Wire } from '../../shared/net/swarm/wire.ts';
import { Spread } from './spread.ts';

export interface SeederOptions {
  /** The chunks of a manifest as this device may have them, asked of the policy; undefined: not here, or not for it. */
  readonly find: (identity: DeviceIdentity, manifest: string) => EntitledChunks | undefined;
  /** A device joined to fetch, and lacks these chunks of a manifest. */
  readonly lacking: (device: DeviceIdentity, manifest: string, indexes: Iterable<number>) => void;
  /** Bytes per second that the gateway may send to devices. */
  readonly rate: () => number;
  /** A chunk left for a device. */
  readonly sent: (device: DeviceIdentity, manifest: string, bytes: number) => void;
  readonly clock: Clock;
  readonly log: Log;
  readonly random: () => number;
}

interface Client {
  readonly channel: Channel;
  readonly device: DeviceIdentity;
  /** Its transfers, by manifest. */
  readonly transfers: Map<string, Transfer>;
}

/** One manifest, wanted by devices of one group. */
interface Transfer {
  readonly key: string;
  readonly spread: Spread<Channel>;
}

/** The gateway's end of the swarm: gives devices chunks of its own choice (Spread), and those they ask for. */
export class Seeder {
  readonly #o: SeederOptions;
  readonly #clients = new Map<Channel, Client>();
  /** By group and manifest. */
  readonly #transfers = new Map<string, Transfer>();
  readonly #asks = new UploadQueue<Channel>();
  readonly #uploads: Uploads;
  readonly #closing = new AbortController();
  #askedLast = false;
  #ticking: Promise<void> | undefined;

  constructor(options: SeederOptions) {
    this.#o = options;
    const { rate, clock, log } = options;
    this.#uploads = new Uploads({
      next: (may) => this.#next(may),
      read: (upload) => this.#read(upload),
      sent: ({ to, manifest, bytes }) => {
        const client = this.#clients.get(to);
        if (client !== undefined) options.sent(client.device, manifest, bytes);
      },
      rate,
      clock,
      log,
    });
  }

  /** Devices connected to be given chunks. */
  get clients(): number {
    return this.#clients.size;
  }

  /** A connection that the door let in. */
  attach(socket: TLSSocket, identity: Identity): void {
    const wire = Wire.accept(socket, identity);
    if (identity.role !== 'device') {
      wire.close(new WardcastError('CERT_WRONG_ROLE', `${identityPath(identity)} is no device`));
      return;
    }
    this.#makeRoom(identity);
    const channel = new Channel(wire);
    this.#clients.set(channel, { channel, device: identity, transfers: new Map() });
    channel.listen(this.#listener);
  }

  /** One device must not take the connections of all: its oldest ends. A device that lost one without noticing has two for a while. */
  #makeRoom(device: DeviceIdentity): void {
    const who = identityPath(device);
    const before = [...this.#clients.values()].filter((client) => !client.channel.closed && identityPath(client.device) === who);
    const [oldest] = before;
    if (before.length >= MAX_DEVICE_WIRES) oldest?.channel.close(new WardcastError('BUSY', `${who} has too many connections`));
  }

  async close(): Promise<void> {
    this.#closing.abort();
    this.#uploads.close();
    for (const { channel } of this.#clients.values()) channel.close();
    await this.#ticking;
  }

  readonly #listener: ChannelListener = {
    onJoin: (channel, manifest, part) => this.#join(channel, manifest, part),
    onHave: (channel, manifest, indexes) => this.#transferOf(channel, manifest)?.spread.have(channel, indexes),
    onAsk: (channel, manifest, indexes) => this.#ask(channel, manifest, indexes),
    onAny: (channel, manifest, count) => {
      this.#transferOf(channel, manifest)?.spread.credit(channel, count);
      this.#uploads.pump();
    },
    onGot: (channel, manifest, index) => {
      this.#transferOf(channel, manifest)?.spread.have(channel, [index]);
      this.#uploads.done(channel, manifest, index, true);
    },
    onCancel: (channel, manifest, indexes) => {
      for (const index of indexes) {
        this.#asks.cancel(channel, manifest, index);
        this.#transferOf(channel, manifest)?.spread.unsent(channel, index);
        this.#uploads.done(channel, manifest, index, false);
      }
    },
    onLeave: (channel, manifest) => this.#leave(channel, manifest),
    // A device gives the gateway nothing.
    onChunk: (channel) => channel.close(new WardcastError('PROTOCOL_VIOLATION', `${identityPath(channel.identity)} sent the gateway a chunk`)),
    onAbsent: () => undefined,
    onClosed: (channel, error) => {
      const client = this.#clients.get(channel);
      if (client === undefined) return;
      for (const manifest of [...client.transfers.keys()]) this.#leave(channel, manifest);
      this.#clients.delete(channel);
      this.#asks.drop(channel);
      this.#uploads.drop(channel);
      this.#o.log.debug('seed.left', { device: identityPath(client.device), error });
    },
  };

  #transferOf(channel: Channel, manifest: string): Transfer | undefined {
    return this.#clients.get(channel)?.transfers.get(manifest);
  }

  #join(channel: Channel, manifest: string, { have, fetching }: Part): void {
    const client = this.#clients.get(channel);
    if (client === undefined) return;
    const chunks = this.#o.find(client.device, manifest);
    // Unknown and denied alike: no answer, and nothing that it asks for is here.
    if (chunks === undefined || chunks.sizes.length !== have.length) return;
    const key = `${client.device.group}/${manifest}`;
    let transfer = client.transfers.get(manifest);
    if (transfer === undefined) {
      transfer = this.#transfers.get(key) ?? { key, spread: new Spread(chunks.sizes, this.#o.random) };
      this.#transfers.set(key, transfer);
      client.transfers.set(manifest, transfer);
      channel.join(manifest, { fetching: false, uploads: true, have: Bitfield.full(chunks.sizes.length) });
    }
    transfer.spread.join(channel, have, fetching);
    if (fetching) this.#o.lacking(client.device, manifest, have.missing());
    this.#ticking ??= this.#tick().finally(() => {
      this.#ticking = undefined;
    });
    this.#uploads.pump();
  }

  #leave(channel: Channel, manifest: string): void {
    const client = this.#clients.get(channel);
    const transfer = client?.transfers.get(manifest);
    if (client === undefined || transfer === undefined) return;
    client.transfers.delete(manifest);
    // Else this connection would run out of numbers for transfers.
    channel.leave(manifest);
    this.#asks.drop(channel, manifest);
    transfer.spread.leave(channel);
    if (transfer.spread.size === 0) {
      this.#transfers.delete(transfer.key);
      this.#asks.forget(manifest);
    }
    // What only this device had is to be given anew.
    this.#uploads.pump();
  }

  #ask(channel: Channel, manifest: string, indexes: readonly number[]): void {
    const client = this.#clients.get(channel);
    const chunks = client === undefined ? undefined : this.#o.find(client.device, manifest);
    for (const index of indexes) {
      const bytes = chunks?.sizes[index];
      if (bytes === undefined) channel.absent(manifest, index, 'absent');
      else if (!this.#asks.ask({ to: channel, manifest, index, bytes })) channel.absent(manifest, index, 'busy');
    }
    this.#uploads.pump();
  }

  /** Asks and the gateway's own choices take turns. */
  #next(may: (to: Channel) => boolean): Upload<Channel> | undefined {
    const first = this.#askedLast ? this.#choose(may) : this.#asks.next(may);
    const found = first ?? (this.#askedLast ? this.#asks.next(may) : this.#choose(may));
    this.#askedLast = !this.#askedLast;
    if (found !== undefined) this.#transferOf(found.to, found.manifest)?.spread.sending(found.to, found.index);
    return found;
  }

  #choose(may: (to: Channel) => boolean): Upload<Channel> | undefined {
    const now = this.#o.clock.monotonic();
    for (const [key, transfer] of this.#transfers) {
      const chosen = transfer.spread.next(may, now);
      const client = chosen === undefined ? undefined : this.#clients.get(chosen.to);
      if (chosen === undefined || client === undefined) continue;
      const manifest = key.slice(key.indexOf('/') + 1);
      const bytes = this.#o.find(client.device, manifest)?.sizes[chosen.index];
      if (bytes === undefined) continue;
      // To the end of the row.
      this.#transfers.delete(key);
      this.#transfers.set(key, transfer);
      return { to: chosen.to, manifest, index: chosen.index, bytes };
    }
    return undefined;
  }

  async #read({ to, manifest, index }: Upload<Channel>): Promise<Buffer | undefined> {
    const client = this.#clients.get(to);
    // The policy once more, at the last moment: what a device may have can change while it waits.
    const bytes = client === undefined ? undefined : await this.#o.find(client.device, manifest)?.read(index);
    if (bytes === undefined) this.#transferOf(to, manifest)?.spread.unsent(to, index);
    return bytes;
  }

  /** Repetitions become due by time alone. */
  async #tick(): Promise<void> {
    const { clock } = this.#o;
    const { signal } = this.#closing;
    while (this.#transfers.size > 0 && !signal.aborted) {
      await clock.sleep(SWARM_TICK, { signal }).catch(() => undefined);
      this.#uploads.pump();
    }
  }
}
