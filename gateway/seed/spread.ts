import { REPEAT_AFTER, REPEAT_IF_LONGER } from '../../shared/base/limits.ts';
import type { Bitfield } from '../../shared/net/swarm/bitfield.ts';

interface Receiver {
  readonly has: Bitfield;
  fetching: boolean;
  /** Chunks of our choice that it would take now. */
  credit: number;
  /** Sent to it and not acknowledged. */
  readonly flying: Set<number>;
  /** Chunks of our choice that it has to pass on. */
  readonly owes: Set<number>;
}

/** Chunks looked at for one repetition: the one with the fewest copies of so many is rare enough. */
const SAMPLE = 64;

/**
 * Which chunk of one manifest goes to which device, when the choice is the gateway's: one that no device has and none is being sent, so that each
 * leaves the gateway about once and every device soon has something that the others want ("super-seeding", BitTorrent BEP 16, for a whole group).
 * When nothing new is left and the group would still need long without help (peers that cannot reach each other, or are slow), chunks are
 * given again, the rarest first. Pure: times in milliseconds, monotonic, are passed in.
 */
export class Spread<D> {
  readonly #count: number;
  readonly #sizes: readonly number[];
  readonly #random: () => number;
  readonly #receivers = new Map<D, Receiver>();
  /** Devices that have each chunk or are being sent it. */
  readonly #copies: Uint16Array;
  /** Below it every chunk was looked at; `#lost` are those that lost their last copy since. */
  #cursor = 0;
  readonly #lost: number[] = [];
  /** Since when nothing new was left, and what the group got since. */
  #drySince: number | undefined;
  #gotSince = 0;

  /** @param sizes bytes of each chunk */
  constructor(sizes: readonly number[], random: () => number) {
    const count = sizes.length;
    this.#count = count;
    this.#sizes = sizes;
    this.#random = random;
    this.#copies = new Uint16Array(count);
  }

  get size(): number {
    return this.#receivers.size;
  }

  /** A device speaks of the manifest, or says anew what it has. */
  join(device: D, has: Bitfield, fetching: boolean): void {
    const known = this.#receivers.get(device);
    if (known !== undefined) {
      known.fetching = fetching;
      if (!fetching) known.credit = 0;
      // What it lost since (its disk failed, its staging was removed) is to be given again.
      for (const index of [...known.has.values()]) if (!has.has(index) && known.has.delete(index)) this.#uncopy(index);
      this.have(device, [...has.values()]);
      return;
    }
    this.#receivers.set(device, { has, fetching, credit: 0, flying: new Set(), owes: new Set() });
    for (const index of has.values()) this.#copy(index);
  }

  leave(device: D): void {
    const gone = this.#receivers.get(device);
    if (gone === undefined) return;
    this.#receivers.delete(device);
    for (const index of gone.has.values()) this.#uncopy(index);
    for (const index of gone.flying) this.#uncopy(index);
  }

  have(device: D, indexes: readonly number[]): void {
    const receiver = this.#receivers.get(device);
    if (receiver === undefined) return;
    for (const index of indexes) {
      if (!receiver.has.add(index)) continue;
      this.#gotSince += 1;
      // What was being sent counts already.
      if (!receiver.flying.delete(index)) this.#copy(index);
    }
    if (receiver.has.complete) receiver.credit = 0;
  }

  /** So many more chunks of our choice are welcome. */
  credit(device: D, count: number): void {
    const receiver = this.#receivers.get(device);
    if (receiver !== undefined) receiver.credit = Math.min(this.#count, receiver.credit + count);
  }

  /** Something goes to the device, by our choice or because it asked. */
  sending(device: D, index: number): void {
    const receiver = this.#receivers.get(device);
    if (receiver === undefined || receiver.has.has(index) || receiver.flying.has(index)) return;
    receiver.flying.add(index);
    this.#copy(index);
  }

  /** It did not get there. */
  unsent(device: D, index: number): void {
    if (this.#receivers.get(device)?.flying.delete(index) === true) this.#uncopy(index);
  }

  /** The next chunk and whom it goes to; undefined: nothing to give now. It counts as being sent from here on. */
  next(may: (device: D) => boolean, now: number): { readonly to: D; readonly index: number } | undefined {
    const to = this.#leastOwing(may);
    const receiver = to === undefined ? undefined : this.#receivers.get(to);
    if (to === undefined || receiver === undefined) return undefined;
    const index = this.#unseen();
    if (index === undefined) return this.#repeats(now) ? this.#again(may) : undefined;
    receiver.owes.add(index);
    return this.#give(to, receiver, index);
  }

  /** Whoever has least to pass on: turns by number would let one idle that happened to get small chunks, and overload another. */
  #leastOwing(may: (device: D) => boolean): D | undefined {
    let fetching = 0;
    for (const receiver of this.#receivers.values()) if (receiver.fetching) fetching += 1;
    let best: D | undefined;
    let least = Number.POSITIVE_INFINITY;
    for (const [device, receiver] of this.#receivers) {
      if (receiver.credit === 0 || !may(device)) continue;
      const owed = this.#owed(receiver, fetching);
      if (owed >= least) continue;
      best = device;
      least = owed;
      if (owed === 0) break;
    }
    return best;
  }

  /** Bytes that the others still have to get of what we gave to this one. */
  #owed(receiver: Receiver, fetching: number): number {
    let bytes = 0;
    for (const index of receiver.owes) {
      const lacking = fetching - (this.#copies[index] ?? 0);
      if (lacking <= 0) receiver.owes.delete(index);
      else bytes += lacking * (this.#sizes[index] ?? 0);
    }
    return bytes;
  }

  #again(may: (device: D) => boolean): { readonly to: D; readonly index: number } | undefined {
    for (const [device, receiver] of this.#receivers) {
      if (receiver.credit === 0 || !may(device)) continue;
      const index = this.#rarest(receiver);
      // It has everything, or is being sent it.
      if (index !== undefined) return this.#give(device, receiver, index);
    }
    return undefined;
  }

  #give(to: D, receiver: Receiver, index: number): { readonly to: D; readonly index: number } {
    receiver.credit -= 1;
    this.sending(to, index);
    // To the end of the row.
    this.#receivers.delete(to);
    this.#receivers.set(to, receiver);
    return { to, index };
  }

  /** A chunk that nobody has. */
  #unseen(): number | undefined {
    for (let index = this.#lost.pop(); index !== undefined; index = this.#lost.pop()) if (this.#copies[index] === 0) return this.#fresh(index);
    for (; this.#cursor < this.#count; this.#cursor++) if (this.#copies[this.#cursor] === 0) return this.#fresh(this.#cursor);
    return undefined;
  }

  #fresh(index: number): number {
    this.#drySince = undefined;
    return index;
  }

  /** Nothing new is left: would the group need long without second copies? */
  #repeats(now: number): boolean {
    if (this.#drySince === undefined) {
      this.#drySince = now;
      this.#gotSince = 0;
    }
    const dry = now - this.#drySince;
    if (dry < REPEAT_AFTER) return false;
    const long = this.#left() > (this.#gotSince / dry) * REPEAT_IF_LONGER;
    // The pace of late: what went quickly at first says nothing of the last chunks, which maybe only a silent peer has.
    if (dry >= 2 * REPEAT_AFTER) {
      this.#drySince += dry / 2;
      this.#gotSince /= 2;
    }
    return long;
  }

  /** What the fewest devices have, of a sample of what this one lacks. */
  #rarest(receiver: Receiver): number | undefined {
    let best: number | undefined;
    let start = Math.floor(this.#random() * this.#count);
    for (let looked = 0, steps = 0; steps < this.#count && looked < SAMPLE; steps++, start++) {
      const index = start % this.#count;
      if (receiver.has.has(index) || receiver.flying.has(index)) continue;
      looked += 1;
      if (best === undefined || (this.#copies[index] ?? 0) < (this.#copies[best] ?? 0)) best = index;
    }
    return best;
  }

  /** Chunks that fetching devices miss, all together. */
  #left(): number {
    let left = 0;
    for (const { fetching, has } of this.#receivers.values()) if (fetching) left += this.#count - has.size;
    return left;
  }

  #copy(index: number): void {
    this.#copies[index] = (this.#copies[index] ?? 0) + 1;
  }

  #uncopy(index: number): void {
    const copies = Math.max(0, (this.#copies[index] ?? 0) - 1);
    this.#copies[index] = copies;
    if (copies === 0 && index < this.#cursor) this.#lost.push(index);
  }
}
