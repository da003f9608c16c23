import { createPrivateKey, createPublicKey, generateKeyPair, type KeyObject, randomBytes, sign } from 'node:crypto';
import { promisify } from 'node:util';
import forge from 'node-forge';
import { MIN_RSA_BITS } from '../shared/base/limits.ts';
import type { Subject, Usage } from './scope.ts';

// forge has it, its types do not.
declare module 'node-forge' {
  namespace pki {
    function getTBSCertificate(certificate: pki.Certificate): asn1.Asn1;
  }
}

export interface KeyPair {
  readonly publicKey: KeyObject;
  readonly privateKey: KeyObject;
  /** PKCS#8, unencrypted. */
  readonly keyPem: string;
}

export interface CertificateRequest {
  readonly subject: Subject;
  readonly publicKey: KeyObject;
  /** Undefined: it signs itself. */
  readonly issuer: { readonly certificatePem: string } | undefined;
  readonly issuerKey: KeyObject;
  readonly uris: readonly string[];
  readonly dnsNames?: readonly string[];
  readonly ips?: readonly string[];
  /** Undefined: a leaf. `pathLength`: how many CAs may stand below. `permitted`: how all names below must start. */
  readonly ca?: { readonly pathLength: number; readonly permitted?: Subject | undefined };
  readonly usages?: readonly Usage[];
  readonly notBefore: Date;
  readonly notAfter: Date;
}

const makeKeys = promisify(generateKeyPair);

/** RSA, because forge writes no other key into X.509. Off the main thread: it takes 0.15 to 0.7 s of a core. */
export async function createKeyPair(): Promise<KeyPair> {
  const { publicKey, privateKey } = await makeKeys('rsa', {
    modulusLength: MIN_RSA_BITS,
    publicKeyEncoding: { type: 'spki', format: 'pem' },
    privateKeyEncoding: { type: 'pkcs8', format: 'pem' },
  });
  return { publicKey: createPublicKey(publicKey), privateKey: createPrivateKey(privateKey), keyPem: privateKey };
}

/**
 * Writes and signs a certificate (RFC 5280). It checks nothing: whoever calls it answers for the contents.
 * forge lays out the bytes and node:crypto signs them (0.9 ms; forge's own RSA blocks for 47 ms).
 */
export function buildCertificate(request: CertificateRequest): string {
  const certificate = forge.pki.createCertificate();
  const issuer = request.issuer === undefined ? undefined : forge.pki.certificateFromPem(request.issuer.certificatePem);
  certificate.serialNumber = randomSerial();
  certificate.validity.notBefore = wholeSeconds(request.notBefore);
  certificate.validity.notAfter = wholeSeconds(request.notAfter);
  certificate.publicKey = forge.pki.publicKeyFromPem(spkiPem(request.publicKey));
  const subject = request.subject.map(({ shortName, value }) => ({ shortName, value: value.slice(0, 64) }));
  certificate.setSubject(subject);
  certificate.setIssuer(issuer === undefined ? subject : issuer.subject.attributes);
  certificate.setExtensions(extensionsOf(request, (issuer ?? certificate).generateSubjectKeyIdentifier().getBytes()));
  return signed(certificate, request.issuerKey);
}

function signed(certificate: forge.pki.Certificate, key: KeyObject): string {
  const algorithm = forge.pki.oids['sha256WithRSAEncryption'] ?? '';
  certificate.signatureOid = algorithm;
  certificate.siginfo.algorithmOid = algorithm;
  certificate.tbsCertificate = forge.pki.getTBSCertificate(certificate);
  const bytes = Buffer.from(forge.asn1.toDer(certificate.tbsCertificate).getBytes(), 'latin1');
  certificate.signature = sign('sha256', bytes, key).toString('latin1');
  return forge.pki.certificateToPem(certificate).replaceAll('\r\n', '\n');
}

function extensionsOf(request: CertificateRequest, issuerKeyId: string): object[] {
  const { ca, usages = [] } = request;
  const names = [
    ...request.uris.map((value) => ({ type: 6, value })),
    ...(request.dnsNames ?? []).map((value) => ({ type: 2, value })),
    ...(request.ips ?? []).map((ip) => ({ type: 7, ip })),
  ];
  return [
    ca === undefined
      ? { name: 'basicConstraints', critical: true, cA: false }
      : { name: 'basicConstraints', critical: true, cA: true, pathLenConstraint: ca.pathLength },
    ca === undefined ? { name: 'keyUsage', critical: true, digitalSignature: true } : { name: 'keyUsage', critical: true, keyCertSign: true, cRLSign: true },
    ...(usages.length === 0 ? [] : [{ name: 'extKeyUsage', serverAuth: usages.includes('server'), clientAuth: usages.includes('client') }]),
    ...(names.length === 0 ? [] : [{ name: 'subjectAltName', altNames: names }]),
    ...(ca?.permitted === undefined ? [] : [nameConstraint(ca.permitted)]),
    { name: 'subjectKeyIdentifier' },
    { name: 'authorityKeyIdentifier', keyIdentifier: issuerKeyId },
  ];
}

/** RFC 5280, 4.2.1.10: permittedSubtrees [0] with one directoryName [4]. forge does not know it. */
function nameConstraint(permitted: Subject): object {
  const { asn1 } = forge;
  const { Class, Type } = asn1;
  const sequence = (value: forge.asn1.Asn1[]): forge.asn1.Asn1 => asn1.create(Class.UNIVERSAL, Type.SEQUENCE, true, value);
  const name = sequence(
    permitted.map(({ shortName, value }) =>
      asn1.create(Class.UNIVERSAL, Type.SET, true, [
        sequence([
          asn1.create(Class.UNIVERSAL, Type.OID, false, asn1.oidToDer(NAME_OID[shortName]).getBytes()),
          asn1.create(Class.UNIVERSAL, Type.PRINTABLESTRING, false, value),
        ]),
      ]),
    ),
  );
  const subtree = sequence([asn1.create(Class.CONTEXT_SPECIFIC, 4, true, [name])]);
  return { id: '2.5.29.30', critical: true, value: sequence([asn1.create(Class.CONTEXT_SPECIFIC, 0, true, [subtree])]) };
}

const NAME_OID = { O: '2.5.4.10', OU: '2.5.4.11', CN: '2.5.4.3' } as const;

/** 128 random bits, positive and without a leading zero byte (RFC 5280, 4.1.2.2). */
function randomSerial(): string {
  const bytes = randomBytes(16);
  bytes[0] = ((bytes[0] ?? 0) & 0x7f) | 0x40;
  return bytes.toString('hex');
}

function spkiPem(key: KeyObject): string {
  return key.export({ type: 'spki', format: 'pem' }).toString();
}

/** X.509 dates have no fractions. */
function wholeSeconds(date: Date): Date {
  return new Date(Math.floor(date.getTime() / 1000) * 1000);
}
