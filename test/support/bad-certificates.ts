import { type KeyObject, X509Certificate } from 'node:crypto';
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import forge from 'node-forge';
import { buildCertificate, type CertificateRequest, createKeyPair, type KeyPair } from '../../certs/build.ts';
import { type CaScope, caSubject, caUri, issuersOf, permittedSubtree, type Subject, type Usage, usagesOf } from '../../certs/scope.ts';
import { type Identity, identityPath, spiffeId } from '../../shared/base/identity.ts';

/**
 * Certificates as an attacker or a slip would make them: the workshop signs whatever it is told to.
 * Keys are few and shared between certificates of the same workshop, because making them is slow.
 */
export const DOMAIN = 'example.com';
export const DEVICE: Identity = { role: 'device', customer: 'acme', site: 'north', group: 'ct', device: 'ct-1' };
export const DEVICE_B: Identity = { role: 'device', customer: 'acme', site: 'north', group: 'pumps', device: 'pump-1' };
export const GATEWAY: Identity = { role: 'gateway', customer: 'acme', site: 'north', gateway: 'gw-1' };
export const PROVIDER: Identity = { role: 'provider', name: 'main' };
export const OPS: Identity = { role: 'ops', name: 'alice' };
export const DAY = 24 * 60 * 60 * 1000;

/** What a daemon would have in its folder; `chain` as DER, leaf first. */
export interface Papers {
  readonly keyPem: string;
  readonly chainPem: string;
  readonly rootPem: string;
  readonly chain: readonly Buffer[];
}

export interface TestCa {
  readonly pem: string;
  readonly key: KeyObject;
  readonly name: string;
  readonly above: TestCa | undefined;
}

export type Twist = Partial<Pick<CertificateRequest, 'uris' | 'usages' | 'notBefore' | 'notAfter' | 'ca' | 'dnsNames' | 'ips' | 'publicKey' | 'subject'>>;

export class Workshop {
  /** Everything is valid around this instant, in milliseconds since 1970. */
  readonly now: number;
  readonly root: TestCa;
  readonly #leafKey: KeyPair;
  readonly #caKey: KeyPair;
  readonly #cas = new Map<string, TestCa>();

  private constructor(caKey: KeyPair, leafKey: KeyPair, now: number) {
    this.now = now;
    this.#caKey = caKey;
    this.#leafKey = leafKey;
    this.root = this.ca({ kind: 'root' }, undefined, { ca: { pathLength: 2 } });
  }

  static async open(now = Date.now()): Promise<Workshop> {
    const [caKey, leafKey] = await Promise.all([createKeyPair(), createKeyPair()]);
    return new Workshop(caKey, leafKey, now);
  }

  get leafKey(): KeyPair {
    return this.#leafKey;
  }

  get caKey(): KeyPair {
    return this.#caKey;
  }

  /** A CA with the given twist, or the proper one for its scope. */
  ca(scope: CaScope, above: TestCa | undefined, twist: Twist = {}): TestCa {
    const name = caUri(DOMAIN, scope);
    const pem = this.#build(caSubject(DOMAIN, scope), above, this.#caKey, {
      uris: [name],
      ca: { pathLength: scope.kind === 'customer' ? 1 : 0, permitted: permittedSubtree(scope) },
      ...twist,
    });
    return { pem, key: this.#caKey.privateKey, name, above };
  }

  /** The proper CA that issues this identity, and those above it. */
  issuer(identity: Identity): TestCa {
    let above = this.root;
    for (const scope of issuersOf(identity).slice(0, -1).toReversed()) {
      const name = caUri(DOMAIN, scope);
      const known = this.#cas.get(name) ?? this.ca(scope, above);
      this.#cas.set(name, known);
      above = known;
    }
    return above;
  }

  leaf(identity: Identity, twist: Twist = {}, issuer: TestCa = this.issuer(identity)): Papers {
    const defaults: Twist = { uris: [spiffeId(DOMAIN, identity)], usages: usagesOf(identity.role), dnsNames: ['localhost'], ips: ['127.0.0.1'] };
    const pem = this.#build(leafSubject(identity), issuer, this.#leafKey, { ...defaults, ...twist });
    return this.papers(pem, issuer);
  }

  papers(leafPem: string, issuer: TestCa | undefined, keyPem = this.#leafKey.keyPem): Papers {
    const pems = [leafPem];
    for (let at = issuer; at?.above !== undefined; at = at.above) pems.push(at.pem);
    return { keyPem, chainPem: pems.join(''), rootPem: this.root.pem, chain: pems.map((pem) => new X509Certificate(pem).raw) };
  }

  /** A leaf that acts as a CA: its certificate says CA:FALSE, its key signs another device all the same. */
  leafIssuedByLeaf(): Papers {
    const issuer = this.issuer(DEVICE);
    const leafPem = this.#build(caSubject(DOMAIN, { kind: 'group', customer: 'acme', group: 'ct' }), issuer, this.#leafKey, {
      uris: [spiffeId(DOMAIN, DEVICE)],
      usages: ['client', 'server'],
    });
    return this.leaf(DEVICE, {}, { pem: leafPem, key: this.#leafKey.privateKey, name: 'leaf', above: issuer });
  }

  /** A leaf with extensions and digest that the project's own builder would never write. */
  forgedLeaf(extra: readonly object[], options: { readonly sha1?: boolean } = {}): Papers {
    const issuer = this.issuer(DEVICE);
    const certificate = forge.pki.createCertificate();
    const issuerCertificate = forge.pki.certificateFromPem(issuer.pem);
    certificate.serialNumber = '4001';
    certificate.validity.notBefore = new Date(this.now - DAY);
    certificate.validity.notAfter = new Date(this.now + DAY);
    certificate.publicKey = forge.pki.publicKeyFromPem(this.#leafKey.publicKey.export({ type: 'spki', format: 'pem' }).toString());
    certificate.setSubject([
      { shortName: 'O', value: 'acme' },
      { shortName: 'CN', value: 'forged' },
    ]);
    certificate.setIssuer(issuerCertificate.subject.attributes);
    certificate.setExtensions([
      { name: 'keyUsage', critical: true, digitalSignature: true },
      { name: 'extKeyUsage', clientAuth: true, serverAuth: true },
      { name: 'subjectAltName', altNames: [{ type: 6, value: spiffeId(DOMAIN, DEVICE) }] },
      ...extra,
    ]);
    const key = forge.pki.privateKeyFromPem(this.#caKey.privateKey.export({ type: 'pkcs1', format: 'pem' }).toString());
    certificate.sign(key, options.sha1 === true ? forge.md.sha1.create() : forge.md.sha256.create());
    return this.papers(forge.pki.certificateToPem(certificate), issuer);
  }

  #build(subject: Subject, issuer: TestCa | undefined, keys: KeyPair, twist: Twist): string {
    return buildCertificate({
      subject,
      publicKey: keys.publicKey,
      issuer: issuer === undefined ? undefined : { certificatePem: issuer.pem },
      issuerKey: issuer?.key ?? keys.privateKey,
      uris: [],
      notBefore: new Date(this.now - DAY),
      notAfter: new Date(this.now + 30 * DAY),
      ...twist,
    });
  }
}

function leafSubject(identity: Identity): Subject {
  const name: Subject = [{ shortName: 'CN', value: identityPath(identity).slice(-64) }];
  return 'customer' in identity ? [{ shortName: 'O', value: identity.customer }, ...name] : name;
}

/** The refusals that both sides of a connection must name, by what is wrong with the client's papers. */
export function badPapers(workshop: Workshop, foreign: Workshop, spare: KeyPair): Readonly<Record<string, Papers>> {
  const past = { notBefore: new Date(workshop.now - 2 * DAY), notAfter: new Date(workshop.now - DAY) };
  const future = { notBefore: new Date(workshop.now + DAY), notAfter: new Date(workshop.now + 2 * DAY) };
  const serverOnly: readonly Usage[] = ['server'];
  return {
    expired: workshop.leaf(DEVICE, past),
    'not yet valid': workshop.leaf(DEVICE, future),
    'foreign CA': { ...foreign.leaf(DEVICE), rootPem: workshop.root.pem },
    'URI and issuer disagree': workshop.leaf(DEVICE_B, {}, workshop.issuer(DEVICE)),
    'a leaf used as CA': workshop.leafIssuedByLeaf(),
    'server-only EKU': workshop.leaf(DEVICE, { usages: serverOnly }),
    'key and certificate mismatch': { ...workshop.leaf(DEVICE), keyPem: spare.keyPem },
    'wrong trust root': { ...workshop.leaf(DEVICE), rootPem: foreign.root.pem },
  };
}

export async function writePapers(directory: string, papers: Papers): Promise<string> {
  await mkdir(directory, { recursive: true });
  await writeFile(join(directory, 'key.pem'), papers.keyPem, { mode: 0o600 });
  await writeFile(join(directory, 'chain.pem'), papers.chainPem);
  await writeFile(join(directory, 'root.pem'), papers.rootPem);
  return directory;
}
