import {
  MAX_TRANSFER_BYTES,
  SWARM_ALLOWANCE,
  SWARM_DEBT,
  SWARM_MIN_ASKS,
  SWARM_OVERDUE,
  SWARM_SLOW_AFTER,
  SWARM_SLOW_RATE,
  SWARM_SOURCE_BYTES,
} from '../../shared/base/limits.ts';
import type { Bitfield } from '../../shared/net/swarm/bitfield.ts';
import { Window } from '../../shared/net/swarm/window.ts';
import { Candidates } from './picker.ts';

/** What a transfer wants said to its sources. */
export interface TransferPorts<P> {
  ask(source: P, indexes: readonly number[]): void;
  /** So many more chunks of the gateway's choice are welcome. */
  any(gateway: P, count: number): void;
  cancel(source: P, indexes: readonly number[]): void;
}

export interface TransferOptions<P> {
  /** Bytes of each chunk. */
  readonly sizes: readonly number[];
  /** What is here at the start; owned by the transfer from now on. */
  readonly have: Bitfield;
  readonly ports: TransferPorts<P>;
  /** In [0, 1). */
  readonly random: () => number;
}

export interface SourceState {
  readonly kind: 'peer' | 'gateway';
  /** It passes chunks on. */
  readonly uploads: boolean;
  /** It is still fetching, so it wants what we get. */
  readonly fetching: boolean;
}

class Source {
  state: SourceState;
  readonly has: Bitfield;
  readonly candidates = new Candidates();
  readonly window = new Window<number>({ minimum: SWARM_MIN_ASKS, maximum: SWARM_SOURCE_BYTES, allowance: SWARM_ALLOWANCE });
  /** Chunks that failed from this source. */
  readonly failed = new Set<number>();
  /** Chunks taken back that may cross with that. */
  readonly cancelled = new Set<number>();
  notBefore = 0;
  /** Milliseconds in which something was asked of it and not there yet, and bytes that it delivered, since both were last judged. */
  owing = 0;
  delivered = 0;

  constructor(state: SourceState, has: Bitfield) {
    this.state = state;
    this.has = has;
  }
}

/** Sources that one chunk is asked of at once, at most. */
const MAX_HOLDERS = 4;
/** Chunks whose spread is watched, newest last. */
const FRESH_WATCHED = 64;

/**
 * The state of one transfer, and its only owner: what is here, who has what, what is asked of whom. Events go in, asks come out through the ports.
 * No I/O and no clock: `now` is in milliseconds, monotonic; so a simulation of thousands of devices runs this very code.
 *
 * Rules: chunks of the gateway's choice first and always, since only it knows what nobody has yet, unless what it gave before still waits to be
 * passed on; everything else from peers, rarest first, as much on its way per source as its speed is worth; what is overdue is asked for a second
 * time elsewhere (end-game), at the gateway last.
 */
export class Transfer<P> {
  readonly #o: TransferOptions<P>;
  readonly #sources = new Map<P, Source>();
  /** Peers that have each chunk; the gateway has all. */
  readonly #copies: Uint16Array;
  readonly #have: Bitfield;
  /** Received and on its way to the disk. */
  readonly #storing = new Set<number>();
  #storingBytes = 0;
  /** By chunk: whom it was asked of. */
  readonly #asked = new Map<number, Set<P>>();
  #askedBytes = 0;
  /** Chunks that the gateway chose for us and that are not everywhere yet. */
  #fresh: number[] = [];
  /** Chunks of its own choice that the gateway was asked for, and how many of them came: running numbers. */
  #anyAsked = 0;
  #anyCame = 0;
  #gateway: P | undefined;
  /** When a chunk came last. */
  #lastCame = 0;
  /** When tick() was last called. */
  #ticked: number | undefined;
  readonly #average: number;
  #left: number;

  constructor(options: TransferOptions<P>) {
    this.#o = options;
    this.#have = options.have;
    this.#copies = new Uint16Array(options.sizes.length);
    const bytes = options.sizes.reduce((sum, size) => sum + size, 0);
    this.#average = options.sizes.length === 0 ? 1 : bytes / options.sizes.length;
    this.#left = options.sizes.length - options.have.size;
  }

  get have(): Bitfield {
    return this.#have;
  }

  /** All is here. */
  get complete(): boolean {
    return this.#left === 0;
  }

  get peers(): number {
    return this.#sources.size - (this.#gateway === undefined ? 0 : 1);
  }

  /** Somebody speaks of this transfer: again, when its state changed. */
  joined(source: P, state: SourceState, has: Bitfield): void {
    const known = this.#sources.get(source);
    if (known !== undefined) {
      known.state = state;
      this.announced(source, [...has.values()]);
      return;
    }
    const fresh = new Source(state, has);
    this.#sources.set(source, fresh);
    if (state.kind === 'gateway') this.#gateway = source;
    for (const index of has.values()) this.#learn(fresh, index);
  }

  left(source: P): void {
    const gone = this.#sources.get(source);
    if (gone === undefined) return;
    this.#sources.delete(source);
    if (this.#gateway === source) {
      this.#gateway = undefined;
      this.#anyCame = this.#anyAsked;
    } else for (const index of gone.has.values()) this.#copies[index] = Math.max(0, (this.#copies[index] ?? 0) - 1);
    for (const index of [...gone.window.keys()]) this.#release(source, gone, index);
  }

  announced(source: P, indexes: readonly number[]): void {
    const who = this.#sources.get(source);
    if (who === undefined) return;
    for (const index of indexes) if (who.has.add(index)) this.#learn(who, index);
  }

  /**
   * A chunk came, not verified yet.
   * @returns `wanted`: verify it, then call stored() or bad(); `late`: another source was quicker; `unwanted`: nobody asked this source for it
   */
  arrived(source: P, index: number, now: number): 'wanted' | 'late' | 'unwanted' {
    const who = this.#sources.get(source);
    if (who === undefined) return 'unwanted';
    const asked = who.window.arrived(index, now);
    const crossed = !asked && who.cancelled.delete(index);
    const chosen = !asked && !crossed && source === this.#gateway && this.#anyCame < this.#anyAsked;
    if (!asked && !crossed && !chosen) return 'unwanted';
    if (asked) this.#forgetAsk(source, index);
    if (chosen) {
      this.#anyCame += 1;
      who.window.arrived(-this.#anyCame, now);
    }
    const bytes = this.#o.sizes[index] ?? 0;
    this.#lastCame = now;
    who.delivered += bytes;
    who.notBefore = 0;
    if (this.#have.has(index) || this.#storing.has(index)) return 'late';
    if (chosen) {
      this.#fresh.push(index);
      if (this.#fresh.length > FRESH_WATCHED) this.#fresh.shift();
    }
    for (const rival of [...(this.#asked.get(index) ?? [])]) {
      this.#sources.get(rival)?.window.end(index);
      this.#sources.get(rival)?.cancelled.add(index);
      this.#forgetAsk(rival, index);
      this.#o.ports.cancel(rival, [index]);
    }
    this.#storing.add(index);
    this.#storingBytes += bytes;
    return 'wanted';
  }

  /** Verified and on the disk: others may be told. */
  stored(index: number): void {
    this.#unstore(index);
    if (this.#have.add(index)) this.#left -= 1;
  }

  /** What came from this source was not the chunk, or could not be stored: it is fetched again, elsewhere. */
  bad(source: P, index: number): void {
    this.#unstore(index);
    this.#sources.get(source)?.failed.add(index);
    this.#reopen(index);
  }

  /** The source has not got it, or has too much to do. */
  absent(source: P, index: number, reason: 'absent' | 'busy', now: number): void {
    const who = this.#sources.get(source);
    if (who === undefined) return;
    if (reason === 'busy') who.notBefore = now + SWARM_OVERDUE / 4;
    else if (who.has.delete(index) && who.state.kind === 'peer') this.#copies[index] = Math.max(0, (this.#copies[index] ?? 0) - 1);
    this.#release(source, who, index);
  }

  /** For people: where it stands. */
  get figures(): { missing: number; asked: number; chosenByGateway: number; storing: number; peers: number; gateway: boolean } {
    const { peers } = this;
    return {
      missing: this.#left,
      asked: this.#asked.size,
      chosenByGateway: this.#any,
      storing: this.#storing.size,
      peers,
      gateway: this.#gateway !== undefined,
    };
  }

  /** Peers that still fetch and have not got this chunk. */
  lacking(index: number): P[] {
    return [...this.#sources].filter(([, { state, has }]) => state.kind === 'peer' && state.fetching && !has.has(index)).map(([peer]) => peer);
  }

  /** Asks for as much as the windows allow. @param uploadRate bytes per second that this device passes on at present; 0: unknown */
  pump(now: number, uploadRate: number): void {
    if (this.complete) return;
    this.#askGateway(now, uploadRate);
    const batches = new Map<P, number[]>();
    const row = shuffled([...this.#sources], this.#o.random);
    for (let some = true; some; ) {
      some = false;
      for (const [source, who] of row) {
        if (who.candidates.size === 0 || who.state.kind === 'gateway' || !who.state.uploads || now < who.notBefore) continue;
        if (this.#outstanding >= MAX_TRANSFER_BYTES || !who.window.admits(this.#average)) continue;
        const index = who.candidates.take(
          (candidate) => this.#open(candidate) && who.has.has(candidate) && !who.failed.has(candidate),
          (candidate) => this.#copies[candidate] ?? 0,
          this.#o.random,
        );
        if (index === undefined) continue;
        some = true;
        this.#ask(source, who, index, now);
        const batch = batches.get(source);
        if (batch === undefined) batches.set(source, [index]);
        else batch.push(index);
      }
    }
    for (const [source, indexes] of batches) this.#o.ports.ask(source, indexes);
  }

  /**
   * Looks at what takes too long; call it several times a second while the transfer runs.
   * @returns sources that are too slow to be kept
   */
  tick(now: number): P[] {
    const slow: P[] = [];
    const passed = now - (this.#ticked ?? now);
    this.#ticked = now;
    for (const [source, who] of this.#sources) {
      // What is overdue is taken back and given to others: who never answers would be watched from the start each time, were it not added up.
      if (who.window.count > 0 && who.state.kind === 'peer') who.owing += passed;
      if (who.owing < SWARM_SLOW_AFTER) continue;
      if (who.delivered < (SWARM_SLOW_RATE * who.owing) / 1000) slow.push(source);
      who.owing = 0;
      who.delivered = 0;
    }
    for (const [index, holders] of [...this.#asked]) this.#hurry(index, holders, now);
    return slow;
  }

  // ── inside ────────────────────────────────────────────────────────────────────────────────────────────

  get #any(): number {
    return this.#anyAsked - this.#anyCame;
  }

  /** Bytes asked for and not yet on the disk. */
  get #outstanding(): number {
    return this.#askedBytes + this.#storingBytes + this.#any * this.#average;
  }

  #unstore(index: number): void {
    if (this.#storing.delete(index)) this.#storingBytes -= this.#o.sizes[index] ?? 0;
  }

  #open(index: number): boolean {
    return !this.#have.has(index) && !this.#storing.has(index) && !this.#asked.has(index);
  }

  #learn(source: Source, index: number): void {
    if (source.state.kind === 'peer') this.#copies[index] = (this.#copies[index] ?? 0) + 1;
    if (!this.#have.has(index)) source.candidates.add(index);
  }

  /** How many peers still want a chunk. */
  #lacking(index: number): number {
    let fetching = 0;
    for (const { state, has } of this.#sources.values()) if (state.kind === 'peer' && state.fetching && !has.has(index)) fetching += 1;
    return fetching;
  }

  #askGateway(now: number, uploadRate: number): void {
    const gateway = this.#gateway;
    const who = gateway === undefined ? undefined : this.#sources.get(gateway);
    if (gateway === undefined || who === undefined || now < who.notBefore) return;
    // Whoever has waited long for nothing in particular must not wait for others either.
    const idle = this.#outstanding === 0 && now - this.#lastCame >= SWARM_OVERDUE;
    if (!idle && this.#owesTooMuch(uploadRate)) return;
    const missing = this.#left - this.#storing.size - this.#asked.size;
    let count = 0;
    while (this.#any < missing && this.#outstanding < MAX_TRANSFER_BYTES && who.window.admits(this.#average)) {
      this.#anyAsked += 1;
      who.window.start(-this.#anyAsked, this.#average, now);
      count += 1;
    }
    if (count > 0) this.#o.ports.any(gateway, count);
  }

  /** What only we got from the gateway waits for being passed on: more of it should go to devices that have less to do. */
  #owesTooMuch(uploadRate: number): boolean {
    let fetching = 0;
    for (const { state } of this.#sources.values()) if (state.kind === 'peer' && state.fetching) fetching += 1;
    if (fetching === 0) return false;
    let debt = 0;
    this.#fresh = this.#fresh.filter((index) => {
      const lacking = this.#lacking(index);
      debt += lacking * (this.#o.sizes[index] ?? 0);
      return lacking > 0;
    });
    // What can be passed on within SWARM_DEBT, and never less than two chunks to everybody, or the gateway would idle.
    return debt > Math.max((uploadRate * SWARM_DEBT) / 1000, 2 * this.#average * fetching);
  }

  #ask(source: P, who: Source, index: number, now: number): void {
    const bytes = this.#o.sizes[index] ?? 0;
    who.window.start(index, bytes, now);
    who.cancelled.delete(index);
    this.#askedBytes += bytes;
    const asked = this.#asked.get(index);
    if (asked === undefined) this.#asked.set(index, new Set([source]));
    else asked.add(source);
  }

  /** The chunk is no longer on its way from this source. */
  #forgetAsk(source: P, index: number): void {
    const asked = this.#asked.get(index);
    if (asked?.delete(source) !== true) return;
    this.#askedBytes -= this.#o.sizes[index] ?? 0;
    if (asked.size === 0) this.#asked.delete(index);
  }

  #release(source: P, who: Source, index: number): void {
    if (index < 0) return;
    who.window.end(index);
    this.#forgetAsk(source, index);
    this.#reopen(index);
  }

  /** It may be asked for again. */
  #reopen(index: number): void {
    if (!this.#open(index)) return;
    for (const who of this.#sources.values()) if (who.has.has(index)) who.candidates.add(index);
  }

  /** Another source for what is overdue at all that were asked. */
  #hurry(index: number, holders: ReadonlySet<P>, now: number): void {
    if (holders.size >= MAX_HOLDERS) return;
    for (const holder of holders) {
      const who = this.#sources.get(holder);
      const since = who?.window.since(index);
      if (who === undefined || since === undefined || now - since < Math.max(SWARM_OVERDUE, 3 * who.window.latency)) return;
    }
    // Nothing more is asked of them until they have shown that they still live.
    for (const holder of holders) {
      const who = this.#sources.get(holder);
      if (who?.state.kind === 'peer') who.notBefore = now + SWARM_OVERDUE;
    }
    const other = this.#another(index, holders, now);
    if (other === undefined) return;
    this.#ask(other.source, other.who, index, now);
    this.#o.ports.ask(other.source, [index]);
  }

  /** A peer that has delivered before, then one that has not yet, then the gateway. */
  #another(index: number, not: ReadonlySet<P>, now: number): { source: P; who: Source } | undefined {
    let unproven: { source: P; who: Source } | undefined;
    for (const [source, who] of shuffled([...this.#sources], this.#o.random)) {
      if (not.has(source) || who.state.kind === 'gateway' || !who.state.uploads || now < who.notBefore) continue;
      if (!who.has.has(index) || who.failed.has(index)) continue;
      if (who.window.latency > 0) return { source, who };
      if (who.window.admits(this.#average)) unproven = { source, who };
    }
    if (unproven !== undefined && not.size === 1) return unproven;
    const gateway = this.#gateway;
    const who = gateway === undefined || not.has(gateway) ? undefined : this.#sources.get(gateway);
    return gateway === undefined || who === undefined ? undefined : { source: gateway, who };
  }
}

function shuffled<T>(items: T[], random: () => number): T[] {
  for (let at = items.length - 1; at > 0; at--) {
    const other = Math.floor(random() * (at + 1));
    const a = items[at];
    const b = items[other];
    if (a === undefined || b === undefined) continue;
    items[at] = b;
    items[other] = a;
  }
  return items;
}
