import { DISCOVERY_INTERVAL_FOUND, DISCOVERY_INTERVAL_SEARCHING, DISCOVERY_TTL } from '../../shared/base/limits.ts';
import type { Advert, Advertised, Discovery, DiscoveryKind, Sighting } from '../../shared/net/discovery.ts';
import { Sightings } from '../../shared/net/sightings.ts';
import type { ManualClock } from './manual-clock.ts';

interface Browser {
  readonly kind: DiscoveryKind;
  readonly sightings: Sightings;
}

/** A LAN in memory with hand-driven time: hosts find each other as over mDNS, and tests lose packets, kill hosts and forge adverts. */
export class SimulatedLan {
  readonly clock: ManualClock;
  readonly #adverts = new Map<Advertised, string>();
  readonly #browsers = new Set<Browser>();
  /** No packet arrives while true. */
  silent = false;

  constructor(clock: ManualClock) {
    this.clock = clock;
  }

  /** @param address IP of the host */
  host(address: string): SimulatedHost {
    return new SimulatedHost(this, address);
  }

  /** A response arrives at everybody; whoever sent it. */
  announce(what: Advertised, address: string): void {
    if (this.silent) return;
    for (const { kind, sightings } of this.#browsers) if (kind === what.kind) sightings.heard({ ...what, address }, this.clock.monotonic());
  }

  add(what: Advertised, address: string): void {
    this.#adverts.set(what, address);
    this.announce(what, address);
  }

  remove(what: Advertised, { goodbye }: { goodbye: boolean }): void {
    const address = this.#adverts.get(what);
    this.#adverts.delete(what);
    if (!goodbye || address === undefined || this.silent) return;
    for (const { sightings } of this.#browsers) sightings.left(what.instance, address);
  }

  join(browser: Browser): () => void {
    this.#browsers.add(browser);
    return () => this.#browsers.delete(browser);
  }

  query(kind: DiscoveryKind): void {
    if (!this.silent) for (const [what, address] of this.#adverts) if (what.kind === kind) this.announce(what, address);
  }
}

export class SimulatedHost implements Discovery {
  readonly #lan: SimulatedLan;
  readonly #address: string;
  readonly #closing = new AbortController();
  readonly #adverts = new Set<Advertised>();

  constructor(lan: SimulatedLan, address: string) {
    this.#lan = lan;
    this.#address = address;
  }

  async advertise(what: Advertised): Promise<Advert> {
    this.#closing.signal.throwIfAborted();
    const own = { ...what };
    this.#adverts.add(own);
    this.#lan.add(own, this.#address);
    return {
      close: async () => {
        if (this.#adverts.delete(own)) this.#lan.remove(own, { goodbye: true });
      },
    };
  }

  async *browse(kind: DiscoveryKind, { signal }: { signal?: AbortSignal | undefined } = {}): AsyncGenerator<Sighting> {
    const ending = signal === undefined ? this.#closing.signal : AbortSignal.any([signal, this.#closing.signal]);
    if (ending.aborted) return;
    const sightings = new Sightings();
    const leave = this.#lan.join({ kind, sightings });
    ending.addEventListener('abort', () => sightings.close(), { once: true });
    void this.#ask(kind, sightings, ending).catch(() => undefined);
    try {
      yield* sightings;
    } finally {
      leave();
      sightings.close();
    }
  }

  /** The power goes: no good-bye. */
  kill(): void {
    for (const own of this.#adverts) this.#lan.remove(own, { goodbye: false });
    this.#adverts.clear();
  }

  async close(): Promise<void> {
    this.#closing.abort();
    for (const own of this.#adverts) this.#lan.remove(own, { goodbye: true });
    this.#adverts.clear();
  }

  async #ask(kind: DiscoveryKind, sightings: Sightings, signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      this.#lan.query(kind);
      await this.#lan.clock.sleep(sightings.size === 0 ? DISCOVERY_INTERVAL_SEARCHING : DISCOVERY_INTERVAL_FOUND, { signal });
      sightings.expire(this.#lan.clock.monotonic() - DISCOVERY_TTL);
    }
  }
}
