import { X509Certificate } from 'node:crypto';
import { WardcastError } from '../shared/base/errors.ts';
import { MAX_CERTIFICATE, MAX_RSA_BITS, MIN_RSA_BITS } from '../shared/base/limits.ts';
import { type DerNode, malformed, readDer, readOnly, TAG } from './der.ts';

/** What the chain rules need to know of one certificate. Nothing here is proven yet. */
export interface Certificate {
  readonly x509: X509Certificate;
  readonly ca: boolean;
  /** How many CAs may follow below this one; undefined: no limit. */
  readonly pathLength: number | undefined;
  /** Every URI of the subject alternative name. */
  readonly uris: readonly string[];
  readonly mayCertify: boolean;
  readonly maySign: boolean;
  /** Extended key usages as OIDs; undefined: not restricted. */
  readonly usages: readonly string[] | undefined;
  readonly notBefore: number;
  readonly notAfter: number;
}

/** Object identifiers (RFC 5280, 4.2.1) as the hex of their DER value. */
const BASIC_CONSTRAINTS = '551d13';
const KEY_USAGE = '551d0f';
const EXTENDED_KEY_USAGE = '551d25';
const ALT_NAME = '551d11';
const NAME_CONSTRAINTS = '551d1e';
/**
 * What we evaluate; RFC 5280 4.2 has every other critical extension refused. Name constraints are OpenSSL's part in TLS;
 * elsewhere the rules of identity.ts are stricter: each CA's URI and name must be exactly those of the leaf's scope.
 */
const UNDERSTOOD: ReadonlySet<string> = new Set([BASIC_CONSTRAINTS, KEY_USAGE, EXTENDED_KEY_USAGE, ALT_NAME, NAME_CONSTRAINTS]);
const SHA256_WITH_RSA = '1.2.840.113549.1.1.11';

/**
 * Reads one certificate, without trusting it.
 * @throws CERT_INVALID malformed, too large, too weak, or with a critical extension that nobody here understands
 */
export function readCertificate(der: Buffer): Certificate {
  try {
    return read(der);
  } catch (error) {
    // node:crypto reads lazily: a broken key, for one, throws an error of OpenSSL's only when it is looked at.
    throw error instanceof WardcastError ? error : malformed('a part of it cannot be read', error);
  }
}

function read(der: Buffer): Certificate {
  if (der.length > MAX_CERTIFICATE) throw malformed(`${der.length} bytes, at most ${MAX_CERTIFICATE} are read`);
  const x509 = parse(der);
  checkStrength(x509);
  const extensions = readExtensions(der);
  const constraints = readConstraints(extensions.get(BASIC_CONSTRAINTS));
  const usage = readKeyUsage(extensions.get(KEY_USAGE));
  const { notBefore, notAfter } = readDates(x509);
  return {
    x509,
    ca: constraints.ca,
    pathLength: constraints.pathLength,
    uris: readUris(extensions.get(ALT_NAME)),
    mayCertify: (usage & 0x04) !== 0,
    maySign: (usage & 0x80) !== 0,
    usages: extensions.has(EXTENDED_KEY_USAGE) ? (x509.keyUsage ?? []) : undefined,
    notBefore,
    notAfter,
  };
}

function parse(der: Buffer): X509Certificate {
  let x509: X509Certificate;
  try {
    x509 = new X509Certificate(der);
  } catch (error) {
    throw malformed('not an X.509 certificate', error);
  }
  // OpenSSL ignores what follows the certificate: two different inputs would mean the same.
  if (!x509.raw.equals(der)) throw malformed('not in its one DER form');
  return x509;
}

function checkStrength(x509: X509Certificate): void {
  const key = x509.publicKey;
  const bits = key.asymmetricKeyDetails?.modulusLength ?? 0;
  if (key.asymmetricKeyType === 'rsa' && bits >= MIN_RSA_BITS && bits <= MAX_RSA_BITS && x509.signatureAlgorithmOid === SHA256_WITH_RSA) return;
  throw new WardcastError('CERT_INVALID', `A certificate uses ${key.asymmetricKeyType ?? 'an unknown key'} of ${bits} bits and ${x509.signatureAlgorithm}`, {
    remedy: `Issue it with RSA of ${MIN_RSA_BITS} to ${MAX_RSA_BITS} bits and SHA-256, as \`wardcast pki\` does.`,
  });
}

function readDates(x509: X509Certificate): { notBefore: number; notAfter: number } {
  const notBefore = x509.validFromDate.getTime();
  const notAfter = x509.validToDate.getTime();
  // NaN compares as neither early nor late: it must not slip through.
  if (!Number.isFinite(notBefore) || !Number.isFinite(notAfter)) throw malformed('its dates cannot be read');
  return { notBefore, notAfter };
}

/** Extension values by OID. Certificate → TBSCertificate → [3] → SEQUENCE OF Extension (RFC 5280, 4.1). */
function readExtensions(der: Buffer): Map<string, Buffer> {
  const [tbs] = readDer(readOnly(der, TAG.sequence));
  const holder = readDer(tbs?.value ?? Buffer.alloc(0)).find((node) => node.tag === TAG.extensions);
  const found = new Map<string, Buffer>();
  if (holder === undefined) return found;
  for (const extension of readDer(readOnly(holder.value, TAG.sequence))) {
    const parts = readDer(extension.value);
    const id = parts[0]?.value.toString('hex') ?? '';
    const critical = parts[1]?.tag === TAG.boolean && parts[1].value[0] !== 0;
    const value = parts.at(-1);
    if (parts[0]?.tag !== TAG.oid || value?.tag !== TAG.octetString || parts.length > 3) throw malformed('an extension that cannot be read');
    if (found.has(id)) throw malformed('the same extension twice');
    if (critical && !UNDERSTOOD.has(id)) throw malformed(`a critical extension (${id}) that is not understood`);
    found.set(id, value.value);
  }
  return found;
}

function readConstraints(value: Buffer | undefined): { ca: boolean; pathLength: number | undefined } {
  if (value === undefined) return { ca: false, pathLength: undefined };
  const parts: (DerNode | undefined)[] = readDer(readOnly(value, TAG.sequence));
  const ca = parts[0]?.tag === TAG.boolean && parts[0].value[0] !== 0;
  const length = parts[0]?.tag === TAG.boolean ? parts[1] : parts[0];
  if (length === undefined) return { ca, pathLength: undefined };
  if (length.tag !== TAG.integer || length.value.length !== 1) throw malformed('a path length that cannot be read');
  return { ca, pathLength: length.value.readInt8(0) };
}

/** The first byte of the key usage bits: 0x80 digitalSignature … 0x04 keyCertSign. Without the extension nothing is allowed. */
function readKeyUsage(value: Buffer | undefined): number {
  return value === undefined ? 0 : (readOnly(value, TAG.bitString)[1] ?? 0);
}

function readUris(value: Buffer | undefined): string[] {
  if (value === undefined) return [];
  return readDer(readOnly(value, TAG.sequence))
    .filter((name) => name.tag === TAG.uri)
    .map((name) => name.value.toString('latin1'));
}
