import { createSocket } from 'node:dgram';
import { Bonjour } from 'bonjour-service';
import type { Clock } from '../base/clock.ts';
import { toWardcastError, WardcastError } from '../base/errors.ts';
import { DISCOVERY_INTERVAL_FOUND, DISCOVERY_INTERVAL_SEARCHING, DISCOVERY_TTL } from '../base/limits.ts';
import type { Log } from '../base/log.ts';
import type { Advert, Advertised, Discovery, DiscoveryKind, Sighting } from './discovery.ts';
import { type LanInterface, lanInterface } from './lan-interface.ts';
import { parseAdverts, printAdvert, serviceName } from './mdns-records.ts';
import { Sightings } from './sightings.ts';

export interface BonjourOptions {
  /** Name or IPv4 address of the only interface that is used. */
  readonly interface: string;
  readonly log: Log;
  readonly clock: Clock;
  /** Milliseconds; the limits' unless a test is in a hurry. */
  readonly intervals?: { readonly searching: number; readonly found: number; readonly ttl: number };
}

/** mDNS on one interface. @throws CONFIG_INVALID when this machine has no such interface */
export function createBonjourDiscovery(options: BonjourOptions): Discovery {
  return new BonjourDiscovery(options);
}

/** What multicast-dns has, as far as it is used here; bonjour-service types it `any`. */
interface Mdns {
  on(event: 'response', listener: (packet: unknown, from: { address: string }) => void): unknown;
  on(event: 'error' | 'warning', listener: (error: Error) => void): unknown;
  query(name: string, type: 'PTR', done: (error?: Error | null) => void): void;
  respond(answers: unknown[], done: (error?: Error | null) => void): void;
  /** Joins the group on the interface, unless that was done. */
  update(): void;
}
interface Port {
  readonly bonjour: Bonjour;
  readonly mdns: Mdns;
  readonly join: () => void;
}

/** RFC 6762, 11. */
const TTL = 255;

/** Milliseconds between the first announcements (RFC 6762, 8.3: at least two, a second apart). Later ones are answers to queries. */
const ANNOUNCEMENTS = [0, 1000, 3000];

/**
 * bonjour-service answers the queries. Its Browser is not used: it remembers every advert it ever saw, parses strangers' packets outside any
 * try, and tells neither of repeated signs of life nor of a peer that died.
 */
class BonjourDiscovery implements Discovery {
  readonly #lan: LanInterface;
  readonly #log: Log;
  readonly #clock: Clock;
  readonly #intervals: NonNullable<BonjourOptions['intervals']>;
  readonly #closing = new AbortController();
  readonly #adverts = new Set<Advert>();

  constructor({ interface: name, log, clock, intervals }: BonjourOptions) {
    this.#lan = lanInterface(name);
    this.#log = log.child({ interface: this.#lan.address });
    this.#clock = clock;
    this.#intervals = intervals ?? { searching: DISCOVERY_INTERVAL_SEARCHING, found: DISCOVERY_INTERVAL_FOUND, ttl: DISCOVERY_TTL };
  }

  async advertise(what: Advertised): Promise<Advert> {
    this.#closing.signal.throwIfAborted();
    const port = this.#open();
    // Public, but of a class that bonjour-service keeps to itself: it holds the records that queries are answered from.
    port.bonjour['server'].register(printAdvert(what, this.#lan.address));
    const stopping = new AbortController();
    void this.#announce(port, what, stopping.signal);
    let closed: Promise<void> | undefined;
    const advert: Advert = {
      close: () => {
        this.#adverts.delete(advert);
        closed ??= this.#withdraw(port, what, stopping);
        return closed;
      },
    };
    this.#adverts.add(advert);
    return advert;
  }

  async *browse(kind: DiscoveryKind, { signal }: { signal?: AbortSignal | undefined } = {}): AsyncGenerator<Sighting> {
    const ending = signal === undefined ? this.#closing.signal : AbortSignal.any([signal, this.#closing.signal]);
    if (ending.aborted) return;
    const sightings = new Sightings();
    const stopping = new AbortController();
    const stop = (): void => {
      stopping.abort();
      sightings.close();
    };
    ending.addEventListener('abort', stop, { once: true });
    const port = this.#open();
    port.mdns.on('response', (packet, from) => this.#heard(kind, packet, from.address, sightings));
    void this.#ask(kind, port, sightings, stopping.signal);
    try {
      yield* sightings;
    } finally {
      ending.removeEventListener('abort', stop);
      stop();
      port.bonjour.destroy();
    }
  }

  async close(): Promise<void> {
    this.#closing.abort(new WardcastError('ABORTED', 'Discovery was closed'));
    await Promise.all([...this.#adverts].map((advert) => advert.close()));
  }

  #open(): Port {
    // `interface` alone would also bind to it, and then no multicast arrives; without it the default route's interface is used, which may be the WAN's.
    const socket = createSocket({ type: 'udp4', reuseAddr: true });
    // Not `multicast`: it would look every five seconds whether there are new interfaces, and there is only the one.
    const options = { interface: this.#lan.address, bind: '0.0.0.0', port: 5353, socket, multicast: false };
    const bonjour = new Bonjour(options, (error: unknown) => this.#log.debug('discovery.answer-failed', { error }));
    const mdns: Mdns = bonjour['server'].mdns;
    mdns.on('error', (error) => {
      this.#log.error('discovery.failed', {
        error: new WardcastError('CONNECTION_FAILED', `mDNS cannot use UDP port 5353: ${error.message}`, {
          remedy: 'Another mDNS daemon may hold the port for itself. Until then configure static addresses.',
          cause: error,
        }),
      });
    });
    mdns.on('warning', (error) => this.#log.debug('discovery.warning', { message: error.message }));
    let listening = false;
    const join = (): void => {
      if (listening) mdns.update();
    };
    socket.once('close', () => {
      listening = false;
    });
    socket.once('listening', () => {
      listening = true;
      socket.setMulticastTTL(TTL);
      join();
    });
    return { bonjour, mdns, join };
  }

  // ── advertising ───────────────────────────────────────────────────────────────────────────────────────

  async #announce({ mdns, join }: Port, what: Advertised, signal: AbortSignal): Promise<void> {
    try {
      for (const wait of ANNOUNCEMENTS) {
        if (wait > 0) await this.#clock.sleep(wait, { signal });
        join();
        mdns.respond(printAdvert(what, this.#lan.address), (error) => {
          if (error) this.#log.debug('discovery.announce-failed', { error });
        });
      }
    } catch (error) {
      if (!signal.aborted) this.#log.error('discovery.announce-failed', { error: toWardcastError(error) });
    }
  }

  async #withdraw({ bonjour, mdns }: Port, what: Advertised, stopping: AbortController): Promise<void> {
    stopping.abort();
    // Whether or not it could be sent: a browser also notices the silence.
    await new Promise<void>((resolve) => mdns.respond(printAdvert(what, this.#lan.address, 0), () => resolve()));
    await new Promise<void>((resolve) => bonjour.destroy(resolve));
  }

  // ── browsing ──────────────────────────────────────────────────────────────────────────────────────────

  /** One query is lost easily, and a killed peer says no good-bye: ask again and again, and drop who does not answer. */
  async #ask(kind: DiscoveryKind, { mdns, join }: Port, sightings: Sightings, signal: AbortSignal): Promise<void> {
    try {
      while (!signal.aborted) {
        // Again, should the interface have been on its way up.
        join();
        mdns.query(serviceName(kind), 'PTR', (error) => {
          if (error) this.#log.debug('discovery.query-failed', { error });
        });
        await this.#clock.sleep(sightings.size === 0 ? this.#intervals.searching : this.#intervals.found, { signal });
        sightings.expire(this.#clock.monotonic() - this.#intervals.ttl);
      }
    } catch (error) {
      if (!signal.aborted) this.#log.error('discovery.query-failed', { error: toWardcastError(error) });
    }
  }

  #heard(kind: DiscoveryKind, packet: unknown, address: string, sightings: Sightings): void {
    // A socket bound to all addresses also hears multicast that other programs joined for other interfaces, such as the WAN's.
    if (!this.#lan.contains(address)) return;
    for (const { instance, port } of parseAdverts(packet, kind)) {
      if (port === undefined) sightings.left(instance, address);
      else if (!sightings.heard({ instance, address, port }, this.#clock.monotonic())) this.#log.debug('discovery.ignored', { address, known: sightings.size });
    }
  }
}
