import { constants, type KeyObject, sign, verify } from 'node:crypto';
import type { Moment } from '../shared/base/clock.ts';
import { WardcastError } from '../shared/base/errors.ts';
import type { Certified } from '../shared/base/identity.ts';
import { MAX_VERIFIED_CHAINS } from '../shared/base/limits.ts';
import { readCertificate } from './certificate.ts';
import { type Credentials, lastMoment } from './credentials.ts';
import { verifyChain } from './identity.ts';
import { keyDigest } from './key-digest.ts';

/**
 * Statements and receipts that carry their own proof, so that they stay true when the connection they came over is
 * forgotten: RSASSA-PSS with SHA-256 and a salt of 32 bytes (RFC 8017, 8.1) over the payload, and the signer's chain.
 * The payload is JSON, so what is signed here can never be taken for a TLS 1.3 CertificateVerify, which starts with 64 spaces.
 */
export interface Signed {
  /** Base64 of the signed bytes. */
  payload: string;
  /** Base64. */
  signature: string;
  /** DER in base64, leaf first, without the root. */
  chain: string[];
}

type ReadonlySigned = Readonly<Omit<Signed, 'chain'>> & { readonly chain: readonly string[] };

const PSS = { padding: constants.RSA_PKCS1_PSS_PADDING, saltLength: 32 };

export function seal(payload: Buffer, credentials: Credentials): Signed {
  const signature = sign('sha256', payload, { key: credentials.key, ...PSS });
  return {
    payload: payload.toString('base64'),
    signature: signature.toString('base64'),
    chain: credentials.chain.map((der) => der.toString('base64')),
  };
}

/** As `seal`, beside the event loop: an RSA signature takes 0.3 ms, and whoever seals thousands has better things to do meanwhile. */
export function sealAside(payload: Buffer, credentials: Credentials): Promise<Signed> {
  return new Promise((resolve, reject) => {
    sign('sha256', payload, { key: credentials.key, ...PSS }, (error, signature) => {
      if (error) reject(error);
      else {
        const chain = credentials.chain.map((der) => der.toString('base64'));
        resolve({ payload: payload.toString('base64'), signature: signature.toString('base64'), chain });
      }
    });
  });
}

/**
 * @param o milliseconds since 1970, as verifyChain
 * @throws SIGNATURE_INVALID, and CERT_* as verifyChain
 */
export function open(envelope: ReadonlySigned, rootPem: string, o: Moment): Certified & { payload: Buffer } {
  const payload = decode(envelope.payload);
  const signature = decode(envelope.signature);
  const { key, certified } = signer(envelope.chain, rootPem, o);
  if (!verify('sha256', payload, { key, ...PSS }, signature)) {
    throw new WardcastError('SIGNATURE_INVALID', 'The signature does not belong to this payload and certificate', {
      remedy: 'The statement was altered on its way, or signed with another key: have the sender state it again.',
    });
  }
  return { ...certified, payload };
}

/**
 * As `open`, for a signer whose leaf may have expired not longer than `grace` milliseconds ago: it proves who asks for the next leaf, and nothing else.
 * @throws as open
 */
export function openLate(envelope: ReadonlySigned, rootPem: string, o: { readonly now: number; readonly grace: number }): Opened {
  const der = decode(envelope.chain[0] ?? '');
  const last = lastMoment(der, o.now);
  return { ...open(envelope, rootPem, { now: o.now - last <= o.grace ? last : o.now }), key: keyDigest(readCertificate(der).x509.publicKey) };
}

export interface Opened extends Certified {
  readonly payload: Buffer;
  /** The signer's key (`keyDigest`). */
  readonly key: string;
}

/** How many verified chains are remembered. For figures and tests. */
export function rememberedChains(): number {
  return remembered.size;
}

interface Signer {
  readonly chain: readonly string[];
  readonly certified: Certified;
  readonly key: KeyObject;
  readonly notBefore: number;
  readonly notAfter: number;
}

/** Least recently used first, as a Map keeps insertion order. By root and leaf, so that one root's word never serves another; the issuers are compared. */
const remembered = new Map<string, Signer>();

function signer(chain: readonly string[], rootPem: string, { now, latest = now }: Moment): Signer {
  const id = rootPem + (chain[0] ?? '');
  const known = remembered.get(id);
  remembered.delete(id);
  if (known !== undefined && latest >= known.notBefore && now <= known.notAfter && sameChain(known.chain, chain)) {
    remembered.set(id, known);
    return known;
  }
  const { identity, issued, generation, leaf, notBefore, notAfter } = verifyChain(chain.map(decode), rootPem, { now, latest, usage: 'signature' });
  const fresh: Signer = { chain, certified: { identity, issued, generation }, key: leaf.publicKey, notBefore, notAfter };
  remembered.set(id, fresh);
  if (remembered.size > MAX_VERIFIED_CHAINS) {
    const oldest = remembered.keys().next().value;
    if (oldest !== undefined) remembered.delete(oldest);
  }
  return fresh;
}

function sameChain(a: readonly string[], b: readonly string[]): boolean {
  return a.length === b.length && a.every((der, at) => der === b[at]);
}

/** Base64 in its one canonical form: Buffer.from would skip over anything else in silence. */
function decode(text: string): Buffer {
  const bytes = Buffer.from(text, 'base64');
  if (bytes.toString('base64') === text) return bytes;
  throw new WardcastError('SIGNATURE_INVALID', 'A signed envelope contains malformed base64', { remedy: 'Have the sender state it again.' });
}
