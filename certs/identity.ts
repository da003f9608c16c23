import { X509Certificate } from 'node:crypto';
import type { TLSSocket } from 'node:tls';
import type { Moment } from '../shared/base/clock.ts';
import { WardcastError } from '../shared/base/errors.ts';
import { type Certified, type Identity, identityPath, parseSpiffeId } from '../shared/base/identity.ts';
import { CERT_BACKDATE, MAX_CHAIN, MAX_LEAF_DAYS, MAX_ROOTS } from '../shared/base/limits.ts';
import { type Certificate, readCertificate } from './certificate.ts';
import { caSubject, caUri, generationOf, issuersOf, subjectText, USAGE_OID, type Usage } from './scope.ts';
import { verdictError } from './tls-errors.ts';

/**
 * The one place that turns a peer's certificate into an identity (RFC 5280 section 6, and SPIFFE's X.509-SVID).
 * Everything is proven from the root down before a name in it means anything; the group comes from the CA that issued
 * the leaf and must be the one in the leaf's URI.
 */

const DAY = 24 * 60 * 60 * 1000;

/** `signature`: the chain vouches for a signed statement, in no direction of TLS. */
export type ChainUsage = Usage | 'signature';

export interface VerifiedChain extends Certified {
  readonly trustDomain: string;
  readonly leaf: X509Certificate;
  /** Milliseconds since 1970 between which the whole chain, root included, is valid. */
  readonly notBefore: number;
  readonly notAfter: number;
}

/**
 * @param chain DER, leaf first, each issued by the next; the root itself may be sent along or not
 * @param o.now milliseconds since 1970; with `latest`, a certificate that is valid at any time between is
 * @throws CERT_MISSING, CERT_INVALID, CERT_IS_CA, CERT_LEAF_AS_CA, CERT_FOREIGN_CA, CERT_NOT_YET_VALID, CERT_EXPIRED, CERT_WRONG_USAGE, CERT_BAD_IDENTITY, CERT_ISSUER_MISMATCH
 */
export function verifyChain(chain: readonly Buffer[], rootPem: string, o: Moment & { readonly usage: ChainUsage }): VerifiedChain {
  const path = buildPath(chain, rootPem);
  const [leaf, ...issuers] = path;
  if (leaf === undefined) throw missing();
  checkLeaf(leaf);
  checkSignatures(path);
  checkDates(path, o);
  checkPathLengths(issuers);
  checkUsage(path, leaf, o.usage);
  const { certified, trustDomain } = readIdentity(leaf);
  checkIssuers(certified.identity, trustDomain, issuers);
  return {
    ...certified,
    trustDomain,
    leaf: leaf.x509,
    notBefore: Math.max(...path.map((certificate) => certificate.notBefore)),
    notAfter: Math.min(...path.map((certificate) => certificate.notAfter)),
  };
}

/**
 * Who is at the other end of a socket whose handshake is done and whose chain node:tls has verified (`authorized`). OpenSSL judges dates by the wall
 * clock, which may be wrong: where it found fault with a date, the chain is proven here instead, at the time that the caller believes in.
 * Servers of Node 24.21 and 26.8 show only the leaf, not the chain above it (nodejs/node issue 65579). So the scope of
 * the issuer comes from its name in the leaf: that name is proven by OpenSSL, and no CA but the right one can bear it,
 * for customer CAs are held to their own customer by name constraints and all other CAs have path length 0.
 * @throws CERT_* as verifyChain, TRUST_ROOT_WRONG in place of CERT_FOREIGN_CA at a client
 */
export function certifiedPeer(socket: TLSSocket, o: Moment & { readonly rootPem: string; readonly usage: Usage }): Certified {
  // Not getPeerX509Certificate(): it takes the chain apart, so that at a client of Node 24.21 its second call returns nothing.
  const { raw } = socket.getPeerCertificate();
  if (!Buffer.isBuffer(raw)) throw missing();
  if (!socket.authorized) return certifiedByChain(socket, o);
  const leaf = readCertificate(raw);
  checkLeaf(leaf);
  checkDates([leaf], o);
  checkUsage([leaf], leaf, o.usage);
  const { certified, trustDomain } = readIdentity(leaf);
  if (onlyUri(readRoot(o.rootPem)) !== caUri(trustDomain, { kind: 'root' }))
    throw mismatch(certified.identity, `a root of another trust domain than ${trustDomain}`);
  return certified;
}

/**
 * A fault in a date hides every other fault from node:tls, which shows the last one found: so nothing that OpenSSL found right is relied on, but for the
 * handshake's proof that the other side holds the leaf's key. A server sees the chain of a client that OpenSSL did not authorize (measured, see
 * docs/decisions/time.md); where it does not, the chain is too short to verify and the client is refused.
 */
function certifiedByChain(socket: TLSSocket, o: Moment & { readonly rootPem: string; readonly usage: Usage }): Certified {
  const verdict = verdictError(socket.authorizationError, o.usage === 'client' ? 'server' : 'client');
  if (verdict.code !== 'CERT_EXPIRED' && verdict.code !== 'CERT_NOT_YET_VALID') throw verdict;
  const chain = presentedChain(socket);
  if (chain.length < 2) throw verdict;
  const { identity, issued, generation } = verifyChain(chain, o.rootPem, o);
  return { identity, issued, generation };
}

/** DER, leaf first. Nothing of it is proven. */
function presentedChain(socket: TLSSocket): Buffer[] {
  const chain: Buffer[] = [];
  let next: unknown = socket.getPeerCertificate(true);
  while (typeof next === 'object' && next !== null && 'raw' in next && Buffer.isBuffer(next.raw) && chain.length <= MAX_CHAIN) {
    const { raw } = next;
    // A self-signed certificate is its own issuer.
    if (chain.at(-1)?.equals(raw) === true) break;
    chain.push(raw);
    next = 'issuerCertificate' in next ? next.issuerCertificate : undefined;
  }
  return chain;
}

function buildPath(chain: readonly Buffer[], rootPem: string): Certificate[] {
  if (chain.length === 0) throw missing();
  if (chain.length > MAX_CHAIN) {
    throw new WardcastError('CERT_INVALID', `The chain has more than ${MAX_CHAIN} certificates`, {
      remedy: 'Send the leaf and its issuing CAs, nothing else.',
    });
  }
  const root = readRoot(rootPem);
  const withoutRoot = chain.filter((der, index) => index === 0 || index < chain.length - 1 || !der.equals(root.x509.raw));
  return [...withoutRoot.map(readCertificate), root];
}

/** The trusted roots of this process, read once: one in production. */
const roots = new Map<string, Certificate>();

function readRoot(rootPem: string): Certificate {
  const known = roots.get(rootPem);
  if (known !== undefined) return known;
  const root = readCertificate(parseRoot(rootPem));
  if (roots.size >= MAX_ROOTS) roots.clear();
  roots.set(rootPem, root);
  return root;
}

function parseRoot(rootPem: string): Buffer {
  try {
    return new X509Certificate(rootPem).raw;
  } catch (error) {
    throw new WardcastError('CERT_INVALID', 'The trusted root cannot be read', { remedy: 'Put the root.pem of `wardcast pki` there.', cause: error });
  }
}

function checkLeaf(leaf: Certificate): void {
  if (leaf.ca || leaf.mayCertify) {
    throw new WardcastError('CERT_IS_CA', `The CA certificate ${nameOf(leaf)} was presented in place of a leaf`, {
      remedy: 'Use the chain.pem that `wardcast pki` wrote: the leaf comes first.',
    });
  }
  // A revocation is kept for MAX_LEAF_DAYS: a leaf that lived longer would outlive its own revocation.
  if (leaf.notAfter - leaf.notBefore > MAX_LEAF_DAYS * DAY + CERT_BACKDATE) {
    throw new WardcastError('CERT_INVALID', `${nameOf(leaf)} is valid for more than ${MAX_LEAF_DAYS} days`, {
      remedy: `Issue it anew for at most ${MAX_LEAF_DAYS} days, as \`wardcast pki\` does.`,
    });
  }
}

function checkSignatures(path: readonly Certificate[]): void {
  for (const [index, certificate] of path.entries()) {
    // The root, last, must have issued itself: a trusted file that is no root is a mistake worth a word.
    const issuer = path[index + 1] ?? certificate;
    if (!issuer.ca || !issuer.mayCertify) {
      throw new WardcastError('CERT_LEAF_AS_CA', `${nameOf(issuer)}, which is no CA, issued ${nameOf(certificate)}`, {
        remedy: 'Somebody used a leaf key to issue certificates: find out who, and issue the leaf anew under its group or customer CA.',
      });
    }
    if (isIssuedBy(certificate.x509, issuer.x509)) continue;
    throw new WardcastError('CERT_FOREIGN_CA', `${nameOf(certificate)} was not issued by ${nameOf(issuer)}: the chain does not lead to the trusted root`, {
      remedy:
        'Both sides need certificates under the same root: compare root.pem on both, and see that chain.pem holds the leaf and all CAs between it and the root.',
    });
  }
}

function isIssuedBy(certificate: X509Certificate, issuer: X509Certificate): boolean {
  try {
    return certificate.checkIssued(issuer) && certificate.verify(issuer.publicKey);
  } catch {
    // OpenSSL throws for a signature it cannot even compute with: no signature of this issuer either way.
    return false;
  }
}

function checkDates(path: readonly Certificate[], { now, latest = now }: Moment): void {
  for (const certificate of path) {
    if (latest < certificate.notBefore) {
      throw new WardcastError('CERT_NOT_YET_VALID', `${nameOf(certificate)} is valid from ${isoDate(certificate.notBefore)}, and it is ${isoDate(latest)}`, {
        remedy: 'Set the clock of this machine (or of the one that issued the certificate), or wait.',
      });
    }
    if (now > certificate.notAfter) {
      throw new WardcastError('CERT_EXPIRED', `${nameOf(certificate)} expired at ${isoDate(certificate.notAfter)}, and it is ${isoDate(now)}`, {
        remedy: 'Issue a new certificate with `wardcast pki`, and check the clock of this machine.',
      });
    }
  }
}

/** The i-th issuer has i CAs below it (RFC 5280, 4.2.1.9). */
function checkPathLengths(issuers: readonly Certificate[]): void {
  for (const [below, issuer] of issuers.entries()) {
    if (issuer.pathLength === undefined || below <= issuer.pathLength) continue;
    throw new WardcastError('CERT_INVALID', `${nameOf(issuer)} may have ${issuer.pathLength} CAs below it and has ${below}`, {
      remedy: 'A group CA issues devices only: issue the leaf directly under it.',
    });
  }
}

function checkUsage(path: readonly Certificate[], leaf: Certificate, usage: ChainUsage): void {
  if (!leaf.maySign) throw wrongUsage(leaf, 'digital signatures');
  if (usage === 'signature') return;
  const needed = USAGE_OID[usage];
  // The leaf must name the usage; a CA may leave it open, but if it names usages they bind all below it, as OpenSSL has it.
  if (leaf.usages === undefined) throw wrongUsage(leaf, `TLS ${usage} authentication`);
  for (const certificate of path) {
    if (certificate.usages !== undefined && !certificate.usages.includes(needed)) throw wrongUsage(certificate, `TLS ${usage} authentication`);
  }
}

function wrongUsage(certificate: Certificate, what: string): WardcastError {
  return new WardcastError('CERT_WRONG_USAGE', `${nameOf(certificate)} is not allowed for ${what}`, {
    remedy: 'Use the certificate of the right role: the provider’s serves only, an ops certificate dials only, gateways and devices do both.',
  });
}

/** The identity that a leaf names, if the CA that its issuer field names may issue it. */
function readIdentity(leaf: Certificate): { certified: Certified; trustDomain: string } {
  const { identity, trustDomain } = parseSpiffeId(onlyUri(leaf));
  const generation = generationOf(leaf.x509.issuer);
  const [issuer] = issuersOf(identity, generation);
  if (issuer === undefined || leaf.x509.issuer !== subjectText(caSubject(trustDomain, issuer))) {
    throw mismatch(identity, JSON.stringify(leaf.x509.issuer.replaceAll('\n', ', ').slice(0, 300)));
  }
  return { certified: { identity, issued: leaf.notBefore, generation: 'group' in identity ? generation : 1 }, trustDomain };
}

/** Every CA up to the root must be the one for this identity: same trust domain, same customer, same group. */
function checkIssuers(identity: Identity, trustDomain: string, issuers: readonly Certificate[]): void {
  const expected = issuersOf(identity).map((scope) => caUri(trustDomain, scope));
  const actual = issuers.map(onlyUri);
  if (actual.length === expected.length && actual.every((uri, index) => uri === expected[index])) return;
  throw mismatch(identity, JSON.stringify(actual.join(' ← ').slice(0, 600)));
}

function mismatch(identity: Identity, issuer: string): WardcastError {
  return new WardcastError('CERT_ISSUER_MISMATCH', `The certificate for ${identityPath(identity)} was issued by ${issuer}, which may not issue it`, {
    remedy: 'Issue it anew under the CA of its own customer and group; if nobody did this by mistake, that CA’s key is in wrong hands.',
  });
}

/** SPIFFE X.509-SVID section 2: exactly one URI. */
function onlyUri(certificate: Certificate): string {
  const [uri, ...others] = certificate.uris;
  if (uri !== undefined && others.length === 0) return uri;
  throw new WardcastError('CERT_BAD_IDENTITY', `${nameOf(certificate)} carries ${certificate.uris.length} URIs, exactly one is required`, {
    remedy: 'Issue the certificate with `wardcast pki`.',
  });
}

function missing(): WardcastError {
  return new WardcastError('CERT_MISSING', 'No certificate was presented', { remedy: 'Configure `credentials` with a folder that `wardcast pki` made.' });
}

/** Unproven when an error speaks of it: quoted and cut, for it comes from a stranger and goes to a log. */
function nameOf(certificate: Certificate): string {
  return JSON.stringify((certificate.uris[0] ?? certificate.x509.subject ?? 'a certificate without a name').slice(0, 300));
}

function isoDate(time: number): string {
  return new Date(time).toISOString();
}
