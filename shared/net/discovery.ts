/** The seam to finding each other on a LAN. A hint, never a proof: whoever is found is proven by mTLS, or not at all. */

export const DISCOVERY_KINDS = ['gateway', 'agent'] as const;
export type DiscoveryKind = (typeof DISCOVERY_KINDS)[number];

/** All that an advert says: no group, product, version or hash, which would tell an attacker whom to attack. */
export interface Advertised {
  readonly kind: DiscoveryKind;
  readonly port: number;
  /** A random UUID, new at every start. */
  readonly instance: string;
}

/** `address` is where the advert came from (an IP); `down`: it said good-bye, or has not been heard for DISCOVERY_TTL. */
export interface Sighting {
  readonly type: 'up' | 'down';
  readonly instance: string;
  readonly address: string;
  readonly port: number;
}

export interface Advert {
  /** Says good-bye. Idempotent. */
  close(): Promise<void>;
}

export interface Discovery {
  /** Answers whoever looks for this kind, until closed. */
  advertise(what: Advertised): Promise<Advert>;
  /** Everybody of that kind, from now until the signal aborts or the discovery closes; bounded by MAX_DISCOVERED, a slow reader misses only what has ended meanwhile. */
  browse(kind: DiscoveryKind, options?: { signal?: AbortSignal | undefined }): AsyncIterable<Sighting>;
  /** Ends all adverts and browses. */
  close(): Promise<void>;
}
