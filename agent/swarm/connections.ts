import type { TLSSocket } from 'node:tls';
import type { Credentials } from '../../certs/credentials.ts';
import type { Clock } from '../../shared/base/clock.ts';
import { toWardcastError, WardcastError } from '../../shared/base/errors.ts';
import { type DeviceIdentity, type Identity, identityPath, sameScope } from '../../shared/base/identity.ts';
import {
  ADVERT_DIAL_INTERVAL,
  GATEWAY_WIRE_LINGER,
  MAX_ADVERT_DIALS,
  MAX_DIALS,
  MAX_PEERS,
  PEER_SETTLED,
  RECONNECT_MAX,
  RECONNECT_MIN,
  WANTED_PEERS,
} from '../../shared/base/limits.ts';
import type { Log } from '../../shared/base/log.ts';
import type { Revocations } from '../../shared/net/revocations.ts';
import { Channel } from '../../shared/net/swarm/channel.ts';
import { Wire } from '../../shared/net/swarm/wire.ts';
import type { Address } from '../locate.ts';
import { isOwnGateway } from '../locate.ts';
import { AddressBook } from './address-book.ts';

export interface ConnectionsOptions {
  readonly device: DeviceIdentity;
  readonly credentials: Credentials;
  readonly revocations?: Revocations | undefined;
  readonly clock: Clock;
  readonly log: Log;
  readonly random: () => number;
  /** Nothing is to be had from this identity. */
  readonly banned: (who: string) => boolean;
  /** A connection stands, proven to be a peer or the gateway; call Channel.listen() before returning. */
  readonly opened: (channel: Channel, kind: 'peer' | 'gateway') => void;
  /** The gateway does not speak with us. */
  readonly unreachable: (error: WardcastError) => void;
}

interface Peer {
  readonly channel: Channel;
  /** Whether we dialled. */
  readonly dialled: boolean;
  /** Where it was met: not dialled again while the connection stands, whoever dialled that. */
  readonly addresses: Address[];
  readonly since: number;
}

/** The connections of one device to its peers, kept, and to its gateway while something is fetched. One connection per pair, used both ways. */
export class Connections {
  readonly #o: ConnectionsOptions;
  readonly #book: AddressBook;
  readonly #peers = new Map<string, Peer>();
  readonly #closing = new AbortController();
  #dialling = 0;
  /** Of those, to addresses that only adverts name. */
  #diallingAdverts = 0;
  #timer: AbortController | undefined;
  /** When the timer ends. */
  #looksAt = 0;
  #gatewayAddress: Address | undefined;
  #gateway: Channel | undefined;
  #gatewayDialling = false;
  #gatewaySince = 0;
  #gatewayFailures = 0;
  #gatewayWanted = false;

  constructor(options: ConnectionsOptions) {
    this.#o = options;
    this.#book = new AddressBook(options.random);
  }

  get peers(): number {
    return this.#peers.size;
  }

  /** Is this a device of our group, and not ourselves? */
  readonly isPeer = (identity: Identity): boolean =>
    identity.role === 'device' && sameScope(this.#o.device, identity) && identity.device !== this.#o.device.device && !this.#o.banned(identityPath(identity));

  /** The gateway's list of where devices of this group are. */
  listed(addresses: readonly Address[]): void {
    this.#book.listed(addresses);
    this.#look();
  }

  advertised(address: Address): void {
    this.#book.advertised(address);
    // However many adverts somebody sends: they are looked at when the next one may be dialled at all.
    if (this.#timer === undefined || this.#looksAt > this.#o.clock.monotonic() + ADVERT_DIAL_INTERVAL) this.#look();
  }

  withdrawn(address: Address): void {
    this.#book.withdrawn(address);
  }

  /** Where the gateway proved to be; undefined: not connected. */
  gatewayAt(address: Address | undefined): void {
    this.#gatewayAddress = address;
    this.#gatewayFailures = 0;
    this.#dialGateway();
  }

  /** Something is fetched, or nothing is any more. */
  wantGateway(wanted: boolean): void {
    this.#gatewayWanted = wanted;
    if (wanted) this.#dialGateway();
    else void this.#letGatewayGo();
  }

  /** A connection that the door let in. */
  accept(socket: TLSSocket, identity: Identity): void {
    const wire = Wire.accept(socket, identity);
    if (!this.isPeer(identity)) {
      wire.close(new WardcastError('CERT_WRONG_ROLE', `${identityPath(identity)} is no peer of this device`));
      return;
    }
    if (this.#peers.size >= MAX_PEERS && !this.#peers.has(identityPath(identity))) {
      wire.close(new WardcastError('BUSY', 'This device has enough peers'));
      return;
    }
    this.#adopt(wire, identity, undefined);
  }

  /** Ends the connection; whoever was there is not dialled again for long. */
  drop(channel: Channel, error: WardcastError): void {
    const who = identityPath(channel.identity);
    const peer = this.#peers.get(who);
    if (peer?.channel === channel) {
      // Forgotten at once: closed() would take it for an end in peace.
      this.#peers.delete(who);
      for (const address of peer.addresses) this.#book.failed(address, this.#o.clock.monotonic(), true);
    }
    channel.close(error);
    this.#look();
  }

  /** To be told by the owner when a channel closed. */
  closed(channel: Channel, error: WardcastError): void {
    if (channel === this.#gateway) {
      this.#gatewayClosed(error);
      return;
    }
    const who = identityPath(channel.identity);
    const peer = this.#peers.get(who);
    if (peer?.channel !== channel) return;
    this.#peers.delete(who);
    const now = this.#o.clock.monotonic();
    // Who turns us away at once (it has enough peers, or wants none) would otherwise be dialled again and again.
    for (const address of peer.addresses) {
      if (peer.dialled && now - peer.since < PEER_SETTLED) this.#book.failed(address, now);
      else this.#book.free(address, now);
    }
    this.#look();
  }

  close(): void {
    this.#closing.abort(new WardcastError('ABORTED', 'The agent is stopping'));
    for (const { channel } of this.#peers.values()) channel.close();
    this.#gateway?.close();
  }

  // ── peers ─────────────────────────────────────────────────────────────────────────────────────────────

  #look(): void {
    const { clock } = this.#o;
    while (!this.#closing.signal.aborted && this.#peers.size + this.#dialling < WANTED_PEERS && this.#dialling < MAX_DIALS) {
      const address = this.#book.next(clock.monotonic(), this.#mayDialAdverts);
      if (address === undefined) {
        this.#lookLater();
        return;
      }
      const advert = !this.#book.isProven(address);
      this.#dialling += 1;
      if (advert) this.#diallingAdverts += 1;
      void this.#dial(address).finally(() => {
        this.#dialling -= 1;
        if (advert) this.#diallingAdverts -= 1;
        this.#look();
      });
    }
  }

  /** Addresses where nobody answers must not keep proven ones waiting. */
  get #mayDialAdverts(): boolean {
    return this.#diallingAdverts < MAX_ADVERT_DIALS;
  }

  #lookLater(): void {
    const { clock } = this.#o;
    this.#timer?.abort();
    this.#timer = undefined;
    const at = this.#book.soonest(clock.monotonic(), this.#mayDialAdverts);
    if (at === undefined) return;
    const timer = new AbortController();
    this.#timer = timer;
    this.#looksAt = at;
    const signal = AbortSignal.any([this.#closing.signal, timer.signal]);
    clock.sleep(Math.max(0, at - clock.monotonic()), { signal }).then(
      () => {
        if (this.#timer === timer) this.#timer = undefined;
        this.#look();
      },
      () => undefined,
    );
  }

  async #dial(address: Address): Promise<void> {
    const { credentials, revocations, clock, log, device } = this.#o;
    let ourselves = false;
    const expect = (identity: Identity): boolean => {
      ourselves = identityPath(identity) === identityPath(device);
      return this.isPeer(identity);
    };
    try {
      const wire = await Wire.dial({ ...address, credentials, revocations, clock, expect, signal: this.#closing.signal });
      this.#adopt(wire, wire.identity, address);
    } catch (error) {
      if (this.#closing.signal.aborted) return;
      log.debug('peer.not-reached', { ...address, error });
      // The gateway's list names this device too. Our own address stays busy: it is never dialled again.
      if (!ourselves) this.#book.failed(address, clock.monotonic());
    }
  }

  /** Of two connections to the same peer both ends keep the one that the device with the lower id dialled. */
  #adopt(wire: Wire, identity: Identity, dialled: Address | undefined): void {
    const who = identityPath(identity);
    const own = identityPath(this.#o.device);
    const before = this.#peers.get(who);
    const addresses = before?.addresses ?? [];
    if (dialled !== undefined) addresses.push(dialled);
    if (before !== undefined && !before.channel.closed) {
      const sameSide = before.dialled === (dialled !== undefined);
      // One that we dialled stands; if they dialled twice, they lost the older one without our noticing.
      const keepsNew = sameSide ? dialled === undefined : dialled === undefined ? who < own : own < who;
      if (!keepsNew) {
        wire.close();
        return;
      }
      this.#peers.delete(who);
      before.channel.close();
    }
    const channel = new Channel(wire);
    this.#peers.set(who, { channel, dialled: dialled !== undefined, addresses, since: this.#o.clock.monotonic() });
    this.#o.log.debug('peer.connected', { peer: who, dialled: dialled !== undefined });
    this.#o.opened(channel, 'peer');
  }

  // ── the gateway ───────────────────────────────────────────────────────────────────────────────────────

  #dialGateway(): void {
    if (!this.#gatewayWanted || this.#gateway !== undefined || this.#gatewayDialling || this.#gatewayAddress === undefined) return;
    this.#dialAgainAfter(this.#dialGatewayAt(this.#gatewayAddress));
  }

  #dialAgainAfter(attempt: Promise<void>): void {
    this.#gatewayDialling = true;
    void attempt.finally(() => {
      this.#gatewayDialling = false;
      if (!this.#closing.signal.aborted) this.#dialGateway();
    });
  }

  #gatewayClosed(error: WardcastError): void {
    this.#gateway = undefined;
    if (this.#closing.signal.aborted) return;
    // Refusals come after the handshake (TLS 1.3): who lets us in and ends it at once does not speak with us.
    if (this.#o.clock.monotonic() - this.#gatewaySince < PEER_SETTLED) {
      this.#dialAgainAfter(this.#gatewayFailed(error));
      return;
    }
    this.#gatewayFailures = 0;
    this.#dialGateway();
  }

  async #dialGatewayAt(address: Address): Promise<void> {
    const { device, credentials, revocations, clock, log, opened } = this.#o;
    const { signal } = this.#closing;
    try {
      const wire = await Wire.dial({ ...address, credentials, revocations, clock, expect: (identity) => isOwnGateway(device, identity), signal });
      this.#gatewaySince = clock.monotonic();
      this.#gateway = new Channel(wire);
      opened(this.#gateway, 'gateway');
    } catch (error) {
      if (signal.aborted) return;
      log.warn('gateway.wire-failed', { ...address, error });
      await this.#gatewayFailed(toWardcastError(error, 'CONNECTION_FAILED', 'The gateway cannot be reached'));
    }
  }

  /** Resolves when it may be dialled again. */
  async #gatewayFailed(error: WardcastError): Promise<void> {
    const { clock, random, unreachable } = this.#o;
    unreachable(error);
    this.#gatewayFailures = Math.min(this.#gatewayFailures + 1, 16);
    const longest = Math.min(RECONNECT_MAX, RECONNECT_MIN * 2 ** this.#gatewayFailures);
    await clock.sleep(random() * longest, { signal: this.#closing.signal }).catch(() => undefined);
  }

  async #letGatewayGo(): Promise<void> {
    const { clock } = this.#o;
    const gateway = this.#gateway;
    if (gateway === undefined) return;
    await clock.sleep(GATEWAY_WIRE_LINGER, { signal: this.#closing.signal }).catch(() => undefined);
    if (!this.#gatewayWanted && this.#gateway === gateway) gateway.close();
  }
}
