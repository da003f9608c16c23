import { WardcastError } from './errors.ts';

/** Who a verified certificate says its holder is. Ids are DNS labels. */
export type Identity = ProviderIdentity | OpsIdentity | GatewayIdentity | DeviceIdentity | ClaimIdentity;
export interface ProviderIdentity {
  readonly role: 'provider';
  readonly name: string;
}
export interface OpsIdentity {
  readonly role: 'ops';
  readonly name: string;
}
export interface GatewayIdentity {
  readonly role: 'gateway';
  readonly customer: string;
  readonly site: string;
  readonly gateway: string;
}
export interface DeviceIdentity {
  readonly role: 'device';
  readonly customer: string;
  readonly site: string;
  readonly group: string;
  readonly device: string;
}
/** Shipped with all devices of a group alike: may ask for a certificate of that group, and nothing else, at no door. */
export interface ClaimIdentity {
  readonly role: 'claim';
  readonly customer: string;
  readonly group: string;
  readonly claim: string;
}

/** What a bundle is for: one group at one site of one customer. */
export interface Scope {
  readonly customer: string;
  readonly site: string;
  readonly group: string;
}

/** Who a proven leaf is for, and what it says of itself that a revocation asks about. */
export interface Certified {
  readonly identity: Identity;
  /** The leaf's notBefore, milliseconds since 1970. */
  readonly issued: number;
  /** Which of the successive CAs of its group issued it, from 1; 1 for all that is no device. */
  readonly generation: number;
}

const ID = /^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$/;
const DOMAIN = /^[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?$/;

/** True for a DNS label (RFC 1123): `[a-z0-9-]{1,63}`, no hyphen at either end. */
export function isId(text: string): boolean {
  return ID.test(text);
}

/** True for a SPIFFE trust domain: lower case, digits, dots and hyphens. */
export function isTrustDomain(text: string): boolean {
  return DOMAIN.test(text);
}

/** The path part of the SPIFFE id, which is also the MQTT client id: `customer/acme/site/north/group/ct/device/ct-1`. */
export function identityPath(identity: Identity): string {
  switch (identity.role) {
    case 'provider':
      return `provider/${identity.name}`;
    case 'ops':
      return `ops/${identity.name}`;
    case 'gateway':
      return `customer/${identity.customer}/site/${identity.site}/gateway/${identity.gateway}`;
    case 'device':
      return `customer/${identity.customer}/site/${identity.site}/group/${identity.group}/device/${identity.device}`;
    case 'claim':
      return `customer/${identity.customer}/group/${identity.group}/claim/${identity.claim}`;
  }
}

export function scopePath(scope: Scope): string {
  return `${scope.customer}/${scope.site}/${scope.group}`;
}

export function sameScope(a: Scope, b: Scope): boolean {
  return a.customer === b.customer && a.site === b.site && a.group === b.group;
}

/** SPIFFE-ID (https://github.com/spiffe/spiffe, "SPIFFE ID") of an identity in a trust domain. */
export function spiffeId(trustDomain: string, identity: Identity): string {
  return `spiffe://${trustDomain}/${identityPath(identity)}`;
}

/**
 * Parses a SPIFFE id strictly: exact shape, lower case ids, no query, fragment, port or percent-encoding.
 * @throws CERT_BAD_IDENTITY
 */
export function parseSpiffeId(uri: string): { trustDomain: string; identity: Identity } {
  const match = /^spiffe:\/\/([^/]+)\/(.+)$/.exec(uri);
  const trustDomain = match?.[1] ?? '';
  const parts = (match?.[2] ?? '').split('/');
  const identity = DOMAIN.test(trustDomain) ? identityFromParts(parts) : undefined;
  if (identity === undefined) {
    throw new WardcastError('CERT_BAD_IDENTITY', `${JSON.stringify(uri.slice(0, 300))} is no Wardcast identity`, {
      remedy: 'Issue the certificate with `wardcast pki`, which writes the identity in the form the daemons expect.',
    });
  }
  return { trustDomain, identity };
}

/** The opposite of identityPath(); undefined: it is none. */
export function parseIdentityPath(path: string): Identity | undefined {
  return identityFromParts(path.split('/'));
}

function identityFromParts(parts: readonly string[]): Identity | undefined {
  const [k1, v1, k2, v2, k3, v3, k4, v4] = parts;
  if (!parts.every((part) => ID.test(part))) return undefined;
  if (parts.length === 2 && v1 !== undefined) {
    if (k1 === 'provider') return { role: 'provider', name: v1 };
    if (k1 === 'ops') return { role: 'ops', name: v1 };
    return undefined;
  }
  if (parts.length === 6 && k1 === 'customer' && k2 === 'group' && k3 === 'claim' && v1 !== undefined && v2 !== undefined && v3 !== undefined)
    return { role: 'claim', customer: v1, group: v2, claim: v3 };
  if (k1 !== 'customer' || k2 !== 'site' || v1 === undefined || v2 === undefined || v3 === undefined) return undefined;
  if (parts.length === 6 && k3 === 'gateway') return { role: 'gateway', customer: v1, site: v2, gateway: v3 };
  if (parts.length === 8 && k3 === 'group' && k4 === 'device' && v4 !== undefined) return { role: 'device', customer: v1, site: v2, group: v3, device: v4 };
  return undefined;
}
