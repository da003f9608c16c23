import { ADVERT_DIAL_INTERVAL, MAX_PEER_ADDRESSES, PEER_RETRY_MAX, PEER_RETRY_MIN } from '../../shared/base/limits.ts';
import type { Address } from '../locate.ts';

interface Entry extends Address {
  /** Named by the gateway, which saw the certificate of whoever is there; else by an advert only, which anybody can send. */
  proven: boolean;
  failures: number;
  notBefore: number;
  busy: boolean;
}

/**
 * Where peers may be, and whom to try next: addresses that the gateway names before those that only adverts name, which are tried rarely, so that
 * somebody who floods the LAN with adverts makes nobody dial strangers all day. Hints only: who answers is proven by its certificate.
 * Pure; times are milliseconds, monotonic.
 */
export class AddressBook {
  readonly #entries = new Map<string, Entry>();
  readonly #random: () => number;
  #nextAdvert = 0;

  constructor(random: () => number) {
    this.#random = random;
  }

  get size(): number {
    return this.#entries.size;
  }

  /** The gateway's list: takes the place of the one before. */
  listed(addresses: readonly Address[]): void {
    const now = new Set(addresses.map(keyOf));
    for (const [key, entry] of this.#entries) if (entry.proven && !now.has(key) && !entry.busy) this.#entries.delete(key);
    for (const address of addresses) this.#add(address, true);
  }

  advertised(address: Address): void {
    this.#add(address, false);
  }

  /** The advert ended. */
  withdrawn(address: Address): void {
    const entry = this.#entries.get(keyOf(address));
    if (entry !== undefined && !entry.proven && !entry.busy) this.#entries.delete(keyOf(address));
  }

  /** Did the gateway name it? */
  isProven(address: Address): boolean {
    return this.#entries.get(keyOf(address))?.proven === true;
  }

  /** The next address to dial; it is busy until failed() or free(). @param adverts whether one that only adverts name will do */
  next(now: number, adverts = true): Address | undefined {
    let best: Entry | undefined;
    let equals = 0;
    for (const entry of this.#entries.values()) {
      if (entry.busy || now < entry.notBefore || (!entry.proven && (!adverts || now < this.#nextAdvert))) continue;
      if (best?.proven && !entry.proven) continue;
      equals = best === undefined || best.proven !== entry.proven ? 1 : equals + 1;
      if (this.#random() * equals < 1) best = entry;
    }
    if (best === undefined) return undefined;
    if (!best.proven) this.#nextAdvert = now + ADVERT_DIAL_INTERVAL;
    best.busy = true;
    return { host: best.host, port: best.port };
  }

  /** When next() may know more than it does now; undefined: when something is heard. */
  soonest(now: number, adverts = true): number | undefined {
    let soonest: number | undefined;
    for (const entry of this.#entries.values()) {
      if (entry.busy || (!entry.proven && !adverts)) continue;
      const at = Math.max(now + 1, entry.notBefore, entry.proven ? 0 : this.#nextAdvert);
      if (soonest === undefined || at < soonest) soonest = at;
    }
    return soonest;
  }

  /** It did not answer, was not one of us, was too slow or lied; `longest`: not again before PEER_RETRY_MAX. */
  failed(address: Address, now: number, longest = false): void {
    const entry = this.#entries.get(keyOf(address));
    if (entry === undefined) return;
    entry.busy = false;
    entry.failures = Math.min(entry.failures + 1, 20);
    const wait = longest ? PEER_RETRY_MAX : Math.min(PEER_RETRY_MAX, PEER_RETRY_MIN * 2 ** (entry.failures - 1));
    entry.notBefore = now + wait * (0.5 + this.#random() / 2);
  }

  /** The connection ended in peace. */
  free(address: Address, now: number): void {
    const entry = this.#entries.get(keyOf(address));
    if (entry === undefined) return;
    entry.busy = false;
    entry.failures = 0;
    entry.notBefore = now + PEER_RETRY_MIN * this.#random();
  }

  #add(address: Address, proven: boolean): void {
    const known = this.#entries.get(keyOf(address));
    if (known !== undefined) {
      if (proven && !known.proven) {
        known.proven = true;
        known.notBefore = 0;
      }
      return;
    }
    if (this.#entries.size >= MAX_PEER_ADDRESSES) {
      const hint = proven ? [...this.#entries].find(([, entry]) => !entry.proven && !entry.busy)?.[0] : undefined;
      if (hint === undefined) return;
      this.#entries.delete(hint);
    }
    this.#entries.set(keyOf(address), { host: address.host, port: address.port, proven, failures: 0, notBefore: 0, busy: false });
  }
}

function keyOf({ host, port }: Address): string {
  return `${host} ${port}`;
}
