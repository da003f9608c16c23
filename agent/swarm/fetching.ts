import { hash } from 'node:crypto';
import type { Clock } from '../../shared/base/clock.ts';
import { toWardcastError, WardcastError } from '../../shared/base/errors.ts';
import { MAX_STRIKES, TRANSFER_PATIENCE } from '../../shared/base/limits.ts';
import type { ChunkList } from '../../shared/bundle/manifest.ts';
import { Bitfield } from '../../shared/net/swarm/bitfield.ts';
import type { Channel, Part } from '../../shared/net/swarm/channel.ts';
import { TURN } from '../../shared/net/swarm/wire.ts';
import { Transfer } from './transfer.ts';

export type Deliver = (hash: string, bytes: Buffer, from: 'peer' | 'gateway') => Promise<void>;

export interface FetchingOptions {
  /** The manifest's hash. */
  readonly manifest: string;
  readonly list: ChunkList;
  /** Hashes that are not here; the rest can be passed on from the start. */
  readonly wanted: ReadonlyMap<string, number>;
  readonly deliver: Deliver;
  readonly clock: Clock;
  readonly random: () => number;
  /** Bytes per second that this device passes on. */
  readonly uploadRate: () => number;
  /** A verified chunk is on the disk: whoever lacks it may be told. */
  readonly onStored: (index: number, bytes: Buffer, from: Channel) => void;
  /** A source sent what is not the chunk it claimed. */
  readonly onBad: (from: Channel, index: number) => void;
}

/** One manifest being fetched: feeds the transfer's state with what the channels say, verifies what comes, and hands it on. */
export class Fetching {
  readonly manifest: string;
  readonly #o: FetchingOptions;
  readonly #transfer: Transfer<Channel>;
  readonly #kinds = new Map<Channel, 'peer' | 'gateway'>();
  readonly #done = Promise.withResolvers<void>();
  #lastNews: number;
  #wrongFromGateway = 0;
  #ended = false;

  constructor(options: FetchingOptions) {
    this.#o = options;
    this.manifest = options.manifest;
    const { hashes, sizes } = options.list;
    const have = new Bitfield(hashes.length);
    hashes.forEach((name, index) => {
      if (!options.wanted.has(name)) have.add(index);
    });
    this.#transfer = new Transfer<Channel>({
      sizes,
      have,
      random: options.random,
      ports: {
        ask: (channel, indexes) => channel.ask(this.manifest, indexes),
        any: (channel, count) => channel.any(this.manifest, count),
        cancel: (channel, indexes) => channel.cancel(this.manifest, indexes),
      },
    });
    this.#lastNews = options.clock.monotonic();
    this.#done.promise.catch(() => undefined);
    if (this.#transfer.complete) this.end();
  }

  /** Resolves when all is on the disk. @throws CONNECTION_LOST when nothing comes any more, and what storing threw */
  get done(): Promise<void> {
    return this.#done.promise;
  }

  get have(): Bitfield {
    return this.#transfer.have;
  }

  joined(channel: Channel, kind: 'peer' | 'gateway', { have, fetching, uploads }: Part): void {
    if (have.length !== this.#o.list.hashes.length) {
      channel.close(new WardcastError('PROTOCOL_VIOLATION', `${channel.address} counts other chunks`));
      return;
    }
    this.#kinds.set(channel, kind);
    this.#transfer.joined(channel, { kind, fetching, uploads }, have);
    this.pump();
  }

  left(channel: Channel): void {
    this.#kinds.delete(channel);
    this.#transfer.left(channel);
    this.pump();
  }

  announced(channel: Channel, indexes: readonly number[]): void {
    this.#transfer.announced(channel, indexes);
    this.pump();
  }

  absent(channel: Channel, index: number, reason: 'absent' | 'busy'): void {
    this.#transfer.absent(channel, index, reason, this.#o.clock.monotonic());
    this.pump();
  }

  /** Peers that would like to know that a chunk is here. */
  interested(index: number): Channel[] {
    return this.#transfer.lacking(index);
  }

  /** @returns false when nobody asked for it */
  came(channel: Channel, index: number, bytes: Buffer): boolean {
    const { list, clock } = this.#o;
    const verdict = this.#transfer.arrived(channel, index, clock.monotonic());
    if (verdict !== 'wanted') {
      // Late: it frees the sender's window all the same.
      if (verdict === 'late') channel.got(this.manifest, index);
      return verdict === 'late';
    }
    const name = list.hashes[index] ?? '';
    if (bytes.length !== list.sizes[index] || hash('sha256', bytes) !== name) {
      this.#transfer.bad(channel, index);
      channel.cancel(this.manifest, [index]);
      this.#o.onBad(channel, index);
      // A peer is banned; the gateway is all there is, and would send it again and again.
      if (this.#kinds.get(channel) === 'gateway' && ++this.#wrongFromGateway >= MAX_STRIKES) {
        this.end(new WardcastError('HASH_MISMATCH', 'The gateway sends chunks that are not what the manifest names', { context: { chunk: name } }));
      }
      this.pump();
      return true;
    }
    this.#lastNews = clock.monotonic();
    // What is asked next leaves together with the acknowledgement, when the chunk is stored.
    void this.#store(channel, index, name, bytes);
    return true;
  }

  /** At the end of the turn, once for all that was heard in it. */
  pump(): void {
    if (!this.#ended) TURN.decide(this.#pump);
  }

  readonly #pump = (): void => {
    if (!this.#ended) this.#transfer.pump(this.#o.clock.monotonic(), this.#o.uploadRate());
  };

  /** Several times a second. @returns peers that are too slow */
  tick(): Channel[] {
    const now = this.#o.clock.monotonic();
    const slow = this.#transfer.tick(now);
    this.pump();
    if (now - this.#lastNews > TRANSFER_PATIENCE) {
      this.end(
        new WardcastError('CONNECTION_LOST', `Neither the gateway nor a peer gave a chunk for ${TRANSFER_PATIENCE / 1000} s`, {
          remedy: 'The installation goes on when the gateway or a peer is back.',
          context: this.#transfer.figures,
        }),
      );
    }
    return slow;
  }

  /** Without an error: all is here. */
  end(error?: WardcastError): void {
    if (this.#ended) return;
    this.#ended = true;
    if (error === undefined) this.#done.resolve();
    else this.#done.reject(error);
  }

  async #store(channel: Channel, index: number, name: string, bytes: Buffer): Promise<void> {
    try {
      await this.#o.deliver(name, bytes, this.#kinds.get(channel) ?? 'peer');
    } catch (error) {
      // Whoever sent it waits for a word: without one it sends us nothing more.
      channel.cancel(this.manifest, [index]);
      this.end(toWardcastError(error, 'STORAGE_FAILED', 'A chunk could not be written'));
      return;
    }
    if (this.#ended) return channel.cancel(this.manifest, [index]);
    this.#transfer.stored(index);
    channel.got(this.manifest, index);
    this.#o.onStored(index, bytes, channel);
    if (this.#transfer.complete) this.end();
    else this.pump();
  }
}
