import { createPublicKey, type KeyObject, sign, verify } from 'node:crypto';
import forge from 'node-forge';
import { WardcastError } from '../shared/base/errors.ts';
import { MAX_CERTIFICATE, MAX_RSA_BITS, MIN_RSA_BITS } from '../shared/base/limits.ts';
import { readDer, readOnly, TAG } from './der.ts';
import { keyDigest } from './key-digest.ts';

// forge has it, its types do not.
declare module 'node-forge' {
  namespace pki {
    function getCertificationRequestInfo(request: unknown): asn1.Asn1;
  }
}

/** A key that asks for a certificate. Who it is for is decided elsewhere: of what a request says about itself nothing is believed. */
export interface KeyRequest {
  readonly publicKey: KeyObject;
  /** sha256 of the public key (SPKI, DER), in hex. */
  readonly key: string;
}

/**
 * A certification request (PKCS#10, RFC 2986) for a key pair, signed with it, DER. forge lays out the bytes and node:crypto signs them.
 * @param name for people
 */
export function createRequest(pair: { readonly publicKey: KeyObject; readonly privateKey: KeyObject }, name: string): Buffer {
  const request = forge.pki.createCertificationRequest();
  request.publicKey = forge.pki.publicKeyFromPem(pair.publicKey.export({ type: 'spki', format: 'pem' }).toString());
  request.setSubject([{ shortName: 'CN', value: name.slice(0, 64) }]);
  const algorithm = forge.pki.oids['sha256WithRSAEncryption'] ?? '';
  request.signatureOid = algorithm;
  request.siginfo.algorithmOid = algorithm;
  request.certificationRequestInfo = forge.pki.getCertificationRequestInfo(request);
  const bytes = Buffer.from(forge.asn1.toDer(request.certificationRequestInfo).getBytes(), 'latin1');
  request.signature = sign('sha256', bytes, pair.privateKey).toString('latin1');
  return Buffer.from(forge.asn1.toDer(forge.pki.certificationRequestToAsn1(request)).getBytes(), 'latin1');
}

export function requestPem(der: Buffer): string {
  return `-----BEGIN CERTIFICATE REQUEST-----\n${(der.toString('base64').match(/.{1,64}/g) ?? []).join('\n')}\n-----END CERTIFICATE REQUEST-----\n`;
}

/** @throws CERT_INVALID */
export function readRequestPem(pem: string): Buffer {
  const body = /-----BEGIN CERTIFICATE REQUEST-----([A-Za-z0-9+/=\s]+)-----END CERTIFICATE REQUEST-----/.exec(pem)?.[1];
  if (body === undefined) throw unusable('there is no PEM block of one');
  return Buffer.from(body, 'base64');
}

/**
 * Reads a request and proves that whoever made it holds the key (RFC 2986, section 4). Strict, with node:crypto alone.
 * @throws CERT_INVALID malformed, too weak, or not signed with its own key
 */
export function readRequest(der: Buffer): KeyRequest {
  if (der.length > MAX_CERTIFICATE) throw unusable(`it has ${der.length} bytes, at most ${MAX_CERTIFICATE} are read`);
  try {
    return read(der);
  } catch (error) {
    if (error instanceof WardcastError && error.context['part'] === 'request') throw error;
    throw unusable('it is malformed', error);
  }
}

/** sha256WithRSAEncryption (RFC 4055, section 5) as the hex of its DER value; its parameters are NULL. */
const SHA256_WITH_RSA = '2a864886f70d01010b';

function read(der: Buffer): KeyRequest {
  const [info, algorithm, signature, ...rest] = readDer(readOnly(der, TAG.sequence));
  if (info?.tag !== TAG.sequence || algorithm?.tag !== TAG.sequence || signature?.tag !== TAG.bitString || rest.length > 0) throw unusable('it is malformed');
  const [version, subject, key, attributes, ...more] = readDer(info.value);
  const shaped = version?.tag === TAG.integer && version.value.equals(Buffer.from([0])) && subject?.tag === TAG.sequence && key?.tag === TAG.sequence;
  if (!shaped || (attributes !== undefined && attributes.tag !== TAG.attributes) || more.length > 0) throw unusable('it is malformed');
  const [oid, parameters, ...others] = readDer(algorithm.value);
  const known = oid?.tag === TAG.oid && oid.value.toString('hex') === SHA256_WITH_RSA && (parameters === undefined || parameters.tag === TAG.null);
  if (!known || others.length > 0) throw unusable('it is not signed with RSA and SHA-256');
  const publicKey = createPublicKey({ key: key.raw, format: 'der', type: 'spki' });
  checkKey(publicKey);
  // The first byte of a bit string counts the bits that are none of it.
  if (signature.value[0] !== 0 || !verify('sha256', info.raw, publicKey, signature.value.subarray(1))) {
    throw unusable('its signature is not by the key it asks for');
  }
  return { publicKey, key: keyDigest(publicKey) };
}

function checkKey(key: KeyObject): void {
  const { modulusLength: bits = 0, publicExponent } = key.asymmetricKeyDetails ?? {};
  if (key.asymmetricKeyType === 'rsa' && bits >= MIN_RSA_BITS && bits <= MAX_RSA_BITS && publicExponent === 65_537n) return;
  throw unusable(`its key is ${key.asymmetricKeyType ?? 'unknown'} of ${bits} bits, RSA of ${MIN_RSA_BITS} to ${MAX_RSA_BITS} with exponent 65537 is needed`);
}

function unusable(why: string, cause?: unknown): WardcastError {
  return new WardcastError('CERT_INVALID', `The certification request cannot be used: ${why}`, {
    remedy: 'Make it anew with `wardcast agent request`, or let the agent enrol.',
    context: { part: 'request' },
    ...(cause === undefined ? {} : { cause }),
  });
}
