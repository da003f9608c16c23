import { isIP } from 'node:net';
import { z } from 'zod';
import { MAX_DISCOVERED, MAX_DISCOVERED_PER_ADDRESS } from '../base/limits.ts';
import type { Sighting } from './discovery.ts';

type Place = Omit<Sighting, 'type'>;
const Instance = z.uuid();

/**
 * Who is on the LAN as far as one browser knows: pure but for the waiting of its one reader. Whatever comes in is a stranger's word: it is checked,
 * and memory is bounded. The same instance at two places is two sightings, so that a forged advert cannot push the true one away.
 */
export class Sightings implements AsyncIterable<Sighting> {
  /** When each was last heard, by place. */
  readonly #known = new Map<string, { readonly place: Place; heard: number }>();
  /** What the reader has not been told yet; at most one per place. */
  readonly #news = new Map<string, Sighting>();
  #wake: (() => void) | undefined;
  readonly #perAddress = new Map<string, number>();
  #closed = false;

  get size(): number {
    return this.#known.size;
  }

  /** An advert was heard at `now` (milliseconds). False when it is malformed or there is no room for it. */
  heard(place: Place, now: number): boolean {
    const key = keyOf(place);
    const known = this.#known.get(key);
    if (known !== undefined) {
      known.heard = now;
      return true;
    }
    const { instance, address, port } = place;
    const there = this.#perAddress.get(address) ?? 0;
    if (this.#closed || !isPlausible(place) || this.#known.size >= MAX_DISCOVERED || there >= MAX_DISCOVERED_PER_ADDRESS) return false;
    this.#perAddress.set(address, there + 1);
    this.#known.set(key, { place: { instance, address, port }, heard: now });
    this.#tell(key, { type: 'up', instance, address, port });
    return true;
  }

  /** It said good-bye, from the address it is known at. */
  left(instance: string, address: string): void {
    for (const [key, { place }] of this.#known) if (place.instance === instance && place.address === address) this.#drop(key, place);
  }

  /** Drops whoever was last heard before `since`. */
  expire(since: number): void {
    for (const [key, { place, heard }] of this.#known) if (heard < since) this.#drop(key, place);
  }

  close(): void {
    this.#closed = true;
    this.#known.clear();
    this.#perAddress.clear();
    this.#wake?.();
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<Sighting> {
    while (!this.#closed) {
      for (const [key, sighting] of this.#news) {
        this.#news.delete(key);
        yield sighting;
        if (this.#closed) return;
      }
      if (this.#news.size > 0 || this.#closed) continue;
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
    }
  }

  #drop(key: string, place: Place): void {
    this.#known.delete(key);
    const left = (this.#perAddress.get(place.address) ?? 1) - 1;
    if (left > 0) this.#perAddress.set(place.address, left);
    else this.#perAddress.delete(place.address);
    this.#tell(key, { type: 'down', ...place });
  }

  #tell(key: string, sighting: Sighting): void {
    const untold = this.#news.get(key);
    // Came and went, or went and came, before anybody looked: nothing to tell.
    if (untold !== undefined && untold.type !== sighting.type) this.#news.delete(key);
    else this.#news.set(key, sighting);
    this.#wake?.();
  }
}

function isPlausible({ instance, address, port }: Place): boolean {
  return Instance.safeParse(instance).success && isIP(address) !== 0 && Number.isInteger(port) && port >= 1 && port <= 65535;
}

function keyOf({ instance, address, port }: Place): string {
  return `${instance} ${address} ${port}`;
}
