import type { Clock } from '../shared/base/clock.ts';
import { WardcastError } from '../shared/base/errors.ts';
import type { DeviceIdentity, Identity } from '../shared/base/identity.ts';
import { CANDIDATE_TIMEOUT, MAX_DISCOVERED, RECONNECT_MAX, RECONNECT_MIN } from '../shared/base/limits.ts';
import type { Log } from '../shared/base/log.ts';
import type { Link } from '../shared/net/broker.ts';

export interface Address {
  readonly host: string;
  readonly port: number;
}

export type Sighting = { readonly type: 'up' | 'down'; readonly instance: string; readonly address: string; readonly port: number };

export interface Connection {
  readonly link: Link;
  /** Called once, when the gateway has proven itself; runs until `lost` aborts or the link is of no use any more. */
  serve(lost: AbortSignal): Promise<void>;
}

export interface LocateOptions {
  /** Configured address; when given, nothing else is tried. */
  readonly fixed?: Address | undefined;
  /** Adverts of gateways: hints, never proofs. */
  readonly browse: (signal: AbortSignal) => AsyncIterable<Sighting>;
  /** Opens a connection that accepts only a gateway of this device's customer and site, and subscribes: so nothing that answers the greeting is missed. */
  readonly open: (address: Address, signal: AbortSignal) => Connection;
  readonly clock: Clock;
  readonly log: Log;
  readonly random?: () => number;
}

/** Is this who a device of `device`'s site may talk to? The one question that decides about a gateway. */
export function isOwnGateway(device: DeviceIdentity, identity: Identity): boolean {
  return identity.role === 'gateway' && identity.customer === device.customer && identity.site === device.site;
}

/**
 * Keeps this device connected to its gateway: tries candidates until one proves itself, serves it, and starts over when
 * that connection is lost, with the last good address first. Restarted, moved and replaced gateways are found again by the same road.
 */
export async function locate(options: LocateOptions, signal: AbortSignal): Promise<void> {
  const { clock, log, random = Math.random } = options;
  const candidates = new Candidates(options.fixed);
  const browsing = options.fixed === undefined ? follow(options, candidates, signal) : undefined;
  let failures = 0;
  try {
    while (!signal.aborted) {
      const address = await candidates.next(signal);
      const proven = await attempt(options, address, signal);
      if (signal.aborted) return;
      failures = proven ? 0 : failures + 1;
      if (proven) candidates.prefer(address);
      // Full jitter, so that a thousand agents do not come back in the same instant; a fresh round of hints is tried at once.
      const ceiling = Math.min(RECONNECT_MAX, RECONNECT_MIN * 2 ** Math.min(16, Math.floor(failures / Math.max(1, candidates.size))));
      const wait = random() * ceiling;
      log.debug('gateway.again', { wait: Math.round(wait), failures });
      await clock.sleep(wait, { signal });
    }
  } catch (error) {
    if (!signal.aborted) throw error;
  } finally {
    await browsing;
  }
}

/** @returns true when the gateway had proven itself */
async function attempt({ open, clock, log }: LocateOptions, address: Address, signal: AbortSignal): Promise<boolean> {
  const lost = new AbortController();
  const scope = AbortSignal.any([signal, lost.signal]);
  const connection = open(address, scope);
  const { link } = connection;
  let serving: Promise<void> | undefined;
  const down = Promise.withResolvers<void>();
  link.onState((state, reason) => {
    if (state === 'up' && serving === undefined) {
      log.info('gateway.connected', { host: address.host, port: address.port });
      serving = connection.serve(scope).catch((error: unknown) => {
        if (!scope.aborted) log.error('gateway.session-failed', { error });
        down.resolve();
      });
    }
    if (state === 'down') {
      log.warn(serving === undefined ? 'gateway.refused' : 'gateway.lost', { host: address.host, port: address.port, error: reason });
      down.resolve();
    }
  });
  const impatience = clock.sleep(CANDIDATE_TIMEOUT, { signal: scope }).then(
    () => {
      if (serving !== undefined) return;
      log.warn('gateway.silent', { host: address.host, port: address.port });
      down.resolve();
    },
    () => undefined,
  );
  const onAbort = (): void => down.resolve();
  signal.addEventListener('abort', onAbort, { once: true });
  await down.promise;
  signal.removeEventListener('abort', onAbort);
  lost.abort(new WardcastError('CONNECTION_LOST', 'The connection to the gateway is gone'));
  await link.close();
  await serving;
  await impatience;
  return serving !== undefined;
}

/** Feeds what is advertised to `candidates` until the signal aborts. */
export async function follow(
  { browse, clock, log }: Pick<LocateOptions, 'browse' | 'clock' | 'log'>,
  candidates: Candidates,
  signal: AbortSignal,
): Promise<void> {
  while (!signal.aborted) {
    try {
      for await (const sighting of browse(signal)) candidates.see(sighting);
    } catch (error) {
      if (signal.aborted) return;
      // E.g. the interface is down: multicast comes back with it.
      log.warn('gateway.browse-failed', { error });
    }
    if (!signal.aborted) await clock.sleep(RECONNECT_MAX, { signal }).catch(() => undefined);
  }
}

/** Addresses worth trying, round and round; the last good one first. */
export class Candidates {
  readonly #fixed: Address | undefined;
  readonly #seen = new Map<string, Address>();
  #queue: string[] = [];
  #preferred: Address | undefined;
  #arrived = Promise.withResolvers<void>();

  constructor(fixed?: Address) {
    this.#fixed = fixed;
  }

  get size(): number {
    return this.#fixed === undefined ? this.#seen.size : 1;
  }

  see({ type, instance, address, port }: Sighting): void {
    if (type === 'down') {
      this.#seen.delete(instance);
      return;
    }
    if (this.#seen.size >= MAX_DISCOVERED && !this.#seen.has(instance)) return;
    const known = this.#seen.get(instance);
    if (known?.host === address && known.port === port) return;
    this.#seen.set(instance, { host: address, port });
    // News first: a gateway that just announced itself is likelier to answer than one that failed.
    this.#queue = [instance, ...this.#queue.filter((queued) => queued !== instance)];
    this.#arrived.resolve();
    this.#arrived = Promise.withResolvers();
  }

  prefer(address: Address): void {
    this.#preferred = address;
  }

  /** The next address to try; waits while none is known. */
  async next(signal: AbortSignal): Promise<Address> {
    if (this.#fixed !== undefined) return this.#fixed;
    for (;;) {
      signal.throwIfAborted();
      const preferred = this.#preferred;
      this.#preferred = undefined;
      // Once: if it fails now, the hints have their turn.
      if (preferred !== undefined) return preferred;
      if (this.#queue.length === 0) this.#queue = [...this.#seen.keys()];
      const instance = this.#queue.shift();
      const address = instance === undefined ? undefined : this.#seen.get(instance);
      if (address !== undefined) return address;
      if (instance !== undefined) continue;
      await untilAborted(this.#arrived.promise, signal);
    }
  }
}

async function untilAborted(promise: Promise<void>, signal: AbortSignal): Promise<void> {
  const aborted = Promise.withResolvers<void>();
  const onAbort = (): void => aborted.resolve();
  signal.addEventListener('abort', onAbort, { once: true });
  await Promise.race([promise, aborted.promise]);
  signal.removeEventListener('abort', onAbort);
}
