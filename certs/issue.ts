import type { KeyObject } from 'node:crypto';
import { isIP } from 'node:net';
import { WardcastError } from '../shared/base/errors.ts';
import { type Identity, identityPath, parseSpiffeId, spiffeId } from '../shared/base/identity.ts';
import { CERT_BACKDATE, LEAF_DAYS, MAX_LEAF_DAYS } from '../shared/base/limits.ts';
import { type Authority, type Validity, validity } from './authority.ts';
import { buildCertificate, createKeyPair } from './build.ts';
import { caUri, issuersOf, type Subject, usagesOf } from './scope.ts';

export interface LeafRequest extends Validity {
  readonly issuer: Authority;
  readonly identity: Identity;
  /** Names and addresses a client may dial; the identity itself is the SPIFFE URI. */
  readonly dnsNames?: readonly string[] | undefined;
  readonly ips?: readonly string[] | undefined;
}

/** PEM of a daemon's three files. */
export interface IssuedLeaf {
  readonly keyPem: string;
  readonly certificatePem: string;
  readonly chainPem: string;
  readonly rootPem: string;
  readonly notAfter: Date;
}

const DAY = 24 * 60 * 60 * 1000;
const DNS_NAME = /^(?=.{1,253}$)([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?)(\.[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?)*$/;

/** The same without a key: whoever made that keeps it. */
export type CertifiedLeaf = Omit<IssuedLeaf, 'keyPem'>;

/**
 * Makes a key and a certificate for one daemon, valid for LEAF_DAYS unless said otherwise.
 * @throws USAGE for a malformed id, name or address, CERT_ISSUER_MISMATCH when this CA may not issue this identity
 */
export async function issueLeaf(request: LeafRequest): Promise<IssuedLeaf> {
  checkRequest(request);
  const { publicKey, keyPem } = await createKeyPair();
  return { keyPem, ...certifyLeaf(request, publicKey) };
}

/** Certifies a key that somebody else made, and has proven to hold (`readRequest`). @throws as issueLeaf */
export function certifyLeaf(request: LeafRequest, publicKey: KeyObject): CertifiedLeaf {
  const { issuer, identity, dnsNames = [], ips = [] } = request;
  checkRequest(request);
  const { notBefore, notAfter } = validity(request, LEAF_DAYS, issuer.notAfter);
  if (notAfter.getTime() - notBefore.getTime() > MAX_LEAF_DAYS * DAY + CERT_BACKDATE) {
    throw new WardcastError('USAGE', `A leaf is valid for at most ${MAX_LEAF_DAYS} days`, { remedy: 'Choose fewer days: every door refuses it otherwise.' });
  }
  const certificatePem = buildCertificate({
    subject: leafSubject(identity),
    publicKey,
    issuer,
    issuerKey: issuer.key,
    uris: [spiffeId(issuer.trustDomain, identity)],
    dnsNames,
    ips,
    usages: usagesOf(identity.role),
    notBefore,
    notAfter,
  });
  return { certificatePem, chainPem: certificatePem + issuer.chainPem, rootPem: issuer.rootPem, notAfter };
}

/** What would be refused later is not issued in the first place. */
function checkRequest({ issuer, identity, dnsNames = [], ips = [] }: LeafRequest): void {
  try {
    parseSpiffeId(spiffeId(issuer.trustDomain, identity));
  } catch (error) {
    throw new WardcastError('USAGE', `${JSON.stringify(identityPath(identity))} is no identity`, {
      remedy: 'Ids are DNS labels: a–z, 0–9 and inner hyphens, at most 63 characters.',
      cause: error,
    });
  }
  const [expected] = issuersOf(identity).map((scope) => caUri(issuer.trustDomain, scope));
  const actual = caUri(issuer.trustDomain, issuer.scope);
  if (expected !== actual) {
    throw new WardcastError('CERT_ISSUER_MISMATCH', `${actual} may not issue ${identityPath(identity)}, only ${expected} may`, {
      remedy: 'Issue it under its own CA.',
    });
  }
  for (const name of dnsNames) {
    if (!DNS_NAME.test(name))
      throw new WardcastError('USAGE', `${JSON.stringify(name)} is no DNS name`, { remedy: 'Use lower case, no wildcard, no trailing dot.' });
  }
  for (const ip of ips) {
    if (isIP(ip) === 0) throw new WardcastError('USAGE', `${JSON.stringify(ip)} is no IP address`, { remedy: 'Use an IPv4 or IPv6 address.' });
  }
}

/** For people, and for brokers that know no URIs; no two identities share one, and it lies within the name constraint of the customer. */
export function leafSubject(identity: Identity): Subject {
  switch (identity.role) {
    case 'provider':
    case 'ops':
      return [
        { shortName: 'OU', value: identity.role },
        { shortName: 'CN', value: identity.name },
      ];
    case 'gateway':
      return [
        { shortName: 'O', value: identity.customer },
        { shortName: 'OU', value: identity.site },
        { shortName: 'CN', value: identity.gateway },
      ];
    case 'device':
      return [
        { shortName: 'O', value: identity.customer },
        { shortName: 'OU', value: identity.site },
        { shortName: 'OU', value: identity.group },
        { shortName: 'CN', value: identity.device },
      ];
    case 'claim':
      return [
        { shortName: 'O', value: identity.customer },
        { shortName: 'OU', value: identity.group },
        { shortName: 'CN', value: `claim ${identity.claim}` },
      ];
  }
}
