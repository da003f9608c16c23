import { haveDelay } from '../../agent/swarm/have-delay.ts';
import { Strikes } from '../../agent/swarm/strikes.ts';
import { Transfer } from '../../agent/swarm/transfer.ts';
import { MAX_UNWANTED, PEER_RETRY_MAX, SWARM_REPORT_DELAY, SWARM_TICK, TRANSFER_PATIENCE } from '../../shared/base/limits.ts';
import { Bitfield } from '../../shared/net/swarm/bitfield.ts';
import { UploadQueue } from '../../shared/net/swarm/upload-queue.ts';
import type { End, Part, Party } from './connection.ts';
import type { Port } from './network.ts';
import { Sender } from './sender.ts';
import type { VirtualTime } from './virtual-time.ts';

/** Milliseconds from a chunk's last byte to its being verified and written. */
const STORING = 1;

export interface DeviceOptions {
  readonly name: string;
  readonly time: VirtualTime;
  readonly port: Port;
  readonly sizes: readonly number[];
  readonly random: () => number;
  /** Milliseconds of one turn of the event loop. */
  readonly turn: number;
  /** All is here. */
  readonly onComplete: (device: Device) => void;
  /** A connection ended. */
  readonly onLost: (device: Device, to: Party | undefined) => void;
}

/** The rules of agent/swarm/swarm.ts and fetching.ts for one manifest, in virtual time. */
export class Device implements Party {
  readonly name: string;
  readonly port: Port;
  readonly #o: DeviceOptions;
  readonly #ends = new Map<End, { readonly kind: 'peer' | 'gateway'; part: Part | undefined; unwanted: number }>();
  readonly #strikes = new Strikes();
  readonly #asks = new UploadQueue<End>();
  readonly #sender: Sender;
  readonly #have: Bitfield;
  #transfer: Transfer<End> | undefined;
  readonly #telling = new Set<'peer' | 'gateway'>();
  #pumping = false;
  /** Peers that are not dialled again before. */
  readonly #notBefore = new Map<Party, number>();
  #lastNews = 0;
  /** Runs, and is reached. */
  up = false;
  /** Gave up for want of anybody who gives. */
  starved = 0;
  /** Stored something that is not what it claims to be. */
  wrong = 0;

  constructor(options: DeviceOptions) {
    this.name = options.name;
    this.port = options.port;
    this.#o = options;
    this.#have = new Bitfield(options.sizes.length);
    this.#sender = new Sender(options.time, (may) => this.#asks.next(may));
  }

  get complete(): boolean {
    return this.#have.complete;
  }

  get missing(): number {
    return this.#have.length - this.#have.size;
  }

  get peers(): number {
    let peers = 0;
    for (const { kind } of this.#ends.values()) if (kind === 'peer') peers += 1;
    return peers;
  }

  /** Nothing is to be had from it. */
  shuns(party: Party): boolean {
    return this.#strikes.banned(party.name, this.#o.time.now) || this.#o.time.now < (this.#notBefore.get(party) ?? 0);
  }

  isConnectedTo(party: Party): boolean {
    for (const { far } of this.#ends.keys()) if (far === party) return true;
    return false;
  }

  /** Begins, or goes on with what it holds. */
  start(): void {
    this.up = true;
    if (this.complete) return;
    this.#lastNews = this.#o.time.now;
    this.#transfer = new Transfer<End>({
      sizes: this.#o.sizes,
      have: copyOf(this.#have),
      random: this.#o.random,
      ports: { ask: (end, indexes) => end.ask(indexes), any: (end, count) => end.any(count), cancel: (end, indexes) => end.cancel(indexes) },
    });
    for (const end of this.#ends.keys()) this.#join(end);
    this.#tick();
  }

  stop(): void {
    this.up = false;
    this.#transfer = undefined;
    for (const end of [...this.#ends.keys()]) end.close();
  }

  /** A connection stands. */
  opened(end: End, kind: 'peer' | 'gateway'): void {
    this.#ends.set(end, { kind, part: undefined, unwanted: 0 });
    if (this.#transfer !== undefined) this.#join(end);
  }

  onJoin(from: End, part: Part): void {
    const contact = this.#ends.get(from);
    if (contact === undefined) return;
    contact.part = part;
    if (!from.joined && this.up) this.#join(from);
    this.#transfer?.joined(from, { kind: contact.kind, fetching: part.fetching, uploads: part.uploads }, copyOf(part.have));
    this.#pump();
  }

  onHave(from: End, indexes: readonly number[]): void {
    const part = this.#ends.get(from)?.part;
    for (const index of indexes) part?.have.add(index);
    this.#transfer?.announced(from, indexes);
    this.#pump();
  }

  onAsk(from: End, indexes: readonly number[]): void {
    for (const index of indexes) {
      if (!this.#have.has(index)) from.absent(index, 'absent');
      else if (!this.#asks.ask({ to: from, manifest: '', index, bytes: this.#o.sizes[index] ?? 0 })) from.absent(index, 'busy');
    }
    this.#sender.pump();
  }

  onAny(): void {
    throw new Error('Only the gateway is asked for anything');
  }

  onChunk(from: End, index: number, intact: boolean): void {
    const contact = this.#ends.get(from);
    if (contact === undefined) return;
    const { time } = this.#o;
    const verdict = this.#transfer?.arrived(from, index, time.now) ?? 'unwanted';
    if (verdict === 'late') from.got(index);
    if (verdict === 'unwanted' && ++contact.unwanted > MAX_UNWANTED) this.#drop(from);
    if (verdict !== 'wanted') return;
    if (intact) {
      this.#lastNews = time.now;
      time.after(STORING, () => this.#stored(from, index, intact));
    } else {
      this.#transfer?.bad(from, index);
      from.cancel([index]);
      if (from.far !== undefined && this.#strikes.strike(from.far.name, time.now)) this.#drop(from);
    }
    this.#pump();
  }

  onAbsent(from: End, index: number, reason: 'absent' | 'busy'): void {
    this.#transfer?.absent(from, index, reason, this.#o.time.now);
    this.#pump();
  }

  onCancel(from: End, indexes: readonly number[]): void {
    for (const index of indexes) {
      this.#asks.cancel(from, '', index);
      this.#sender.done(from, index, false);
    }
  }

  onGot(from: End, index: number): void {
    this.#sender.done(from, index, true);
    this.onHave(from, [index]);
  }

  lacks(to: End, index: number): boolean {
    const contact = this.#ends.get(to);
    return contact?.kind === 'gateway' || contact?.part?.have.has(index) !== true;
  }

  onClosed(from: End): void {
    this.#ends.delete(from);
    this.#transfer?.left(from);
    this.#asks.drop(from);
    this.#sender.drop(from);
    this.#pump();
    this.#o.onLost(this, from.far);
  }

  #drop(end: End): void {
    if (end.far !== undefined) this.#notBefore.set(end.far, this.#o.time.now + PEER_RETRY_MAX);
    end.close();
  }

  #join(end: End): void {
    const fetching = this.#transfer !== undefined;
    if (!fetching && this.#have.size === 0) return;
    end.joined = true;
    end.join({ fetching, uploads: true, have: copyOf(this.#have) });
    const contact = this.#ends.get(end);
    if (contact?.part !== undefined) {
      const { fetching: theirs, uploads, have } = contact.part;
      this.#transfer?.joined(end, { kind: contact.kind, fetching: theirs, uploads }, copyOf(have));
    }
  }

  /** Once for all that is heard within a moment, as in a turn of the event loop. */
  #pump(): void {
    if (this.#pumping || this.#transfer === undefined) return;
    this.#pumping = true;
    this.#o.time.after(this.#o.turn, () => {
      this.#pumping = false;
      this.#transfer?.pump(this.#o.time.now, this.#sender.rate);
    });
  }

  #stored(from: End, index: number, intact: boolean): void {
    if (!intact) this.wrong += 1;
    const transfer = this.#transfer;
    const urgent = this.#ends.get(from)?.kind === 'gateway';
    this.#have.add(index);
    if (transfer === undefined) return;
    transfer.stored(index);
    from.got(index);
    for (const end of transfer.lacking(index)) {
      if (end === from) continue;
      if (urgent) end.have([index]);
      else end.haveLater(index);
    }
    for (const [end, { kind }] of this.#ends) if (kind === 'gateway' && end !== from) end.haveLater(index);
    this.#tellLater('gateway', SWARM_REPORT_DELAY);
    this.#tellLater('peer', haveDelay(this.#ends.size));
    if (transfer.complete) this.#finish();
    else this.#pump();
  }

  #tellLater(kind: 'peer' | 'gateway', delay: number): void {
    if (this.#telling.has(kind)) return;
    this.#telling.add(kind);
    this.#o.time.after(delay, () => this.#tell(kind));
  }

  #tell(to: 'peer' | 'gateway'): void {
    this.#telling.delete(to);
    for (const [end, { kind }] of this.#ends) if (kind === to) end.flush();
  }

  #finish(): void {
    this.#transfer = undefined;
    this.#tell('gateway');
    this.#tell('peer');
    for (const end of this.#ends.keys()) if (end.joined) end.join({ fetching: false, uploads: true, have: copyOf(this.#have) });
    this.#o.onComplete(this);
  }

  #tick(): void {
    const { time } = this.#o;
    const transfer = this.#transfer;
    time.after(SWARM_TICK, () => {
      if (transfer === undefined || this.#transfer !== transfer) return;
      const slow = transfer.tick(time.now);
      this.#pump();
      for (const end of slow) this.#drop(end);
      this.#sender.pump();
      if (time.now - this.#lastNews > TRANSFER_PATIENCE) {
        this.starved += 1;
        this.#lastNews = time.now;
      }
      this.#tick();
    });
  }
}

/** A copy that its holder may change. */
export function copyOf(have: Bitfield): Bitfield {
  return Bitfield.of(have.bytes(), have.length);
}
