import { createPrivateKey, X509Certificate } from 'node:crypto';
import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { systemCode, WardcastError } from '../shared/base/errors.ts';
import type { Identity } from '../shared/base/identity.ts';
import { MAX_ISSUERS } from '../shared/base/limits.ts';
import type { Authority } from './authority.ts';
import { type Certificate, readCertificate } from './certificate.ts';
import { readPemChain } from './pem.ts';
import { type CaScope, caSubject, caUri, generationOf, issuersOf, subjectText } from './scope.ts';

/**
 * Issuing authorities that the provider holds, so that it can certify devices online: one folder each, `<customer>.<group>` or `<customer>`, as
 * `wardcast pki export-issuer` writes them.
 */
export const ISSUER_FILES = { key: 'key.pem', chain: 'chain.pem' } as const;

/** Where an exported CA lies. Ids have no dots. */
export function issuerFolder(scope: Extract<CaScope, { customer: string }>): string {
  return scope.kind === 'group' ? `${scope.customer}.${scope.group}` : scope.customer;
}

/** Which of the provider's authorities may issue what. */
export class Issuers {
  readonly #byUri: ReadonlyMap<string, Authority>;
  readonly #trustDomain: string;

  private constructor(trustDomain: string, byUri: ReadonlyMap<string, Authority>) {
    this.#trustDomain = trustDomain;
    this.#byUri = byUri;
  }

  /**
   * Reads all of them, and refuses now what devices would refuse later.
   * @param o.now milliseconds since 1970
   * @throws KEY_UNUSABLE, CERT_*, LIMIT_EXCEEDED
   */
  static async load(directory: string, o: { readonly trustDomain: string; readonly rootPem: string; readonly now: number }): Promise<Issuers> {
    const found = new Map<string, Authority>();
    for (const name of await foldersIn(directory)) {
      const authority = await readAuthority(join(directory, name), o);
      found.set(caUri(o.trustDomain, authority.scope), authority);
    }
    return new Issuers(o.trustDomain, found);
  }

  get size(): number {
    return this.#byUri.size;
  }

  /** The authority that may issue this identity; undefined: it is not here. */
  for(identity: Identity): Authority | undefined {
    const [scope] = issuersOf(identity);
    return scope === undefined ? undefined : this.#byUri.get(caUri(this.#trustDomain, scope));
  }
}

async function foldersIn(directory: string): Promise<string[]> {
  let names: string[];
  try {
    names = (await readdir(directory, { withFileTypes: true })).filter((entry) => entry.isDirectory() && !entry.name.startsWith('.')).map(({ name }) => name);
  } catch (error) {
    throw new WardcastError('KEY_UNUSABLE', `The folder of issuing authorities ${directory} cannot be read: ${systemCode(error) ?? String(error)}`, {
      remedy: 'Make it with `wardcast pki export-issuer`, or take `authorities` out of the configuration.',
      cause: error,
    });
  }
  if (names.length <= MAX_ISSUERS) return names.sort();
  throw new WardcastError('LIMIT_EXCEEDED', `${directory} holds ${names.length} authorities, at most ${MAX_ISSUERS} are read`);
}

async function readAuthority(folder: string, o: { readonly trustDomain: string; readonly rootPem: string; readonly now: number }): Promise<Authority> {
  const [chainPem, keyPem] = await Promise.all([read(join(folder, ISSUER_FILES.chain)), read(join(folder, ISSUER_FILES.key))]);
  const path = [...readPemChain(chainPem), new X509Certificate(o.rootPem).raw].map(readCertificate);
  const [own] = path;
  const scope = own === undefined ? undefined : scopeOf(own, o.trustDomain);
  if (own === undefined || scope === undefined || own.x509.subject !== subjectText(caSubject(o.trustDomain, scope))) {
    throw new WardcastError('CERT_INVALID', `${folder} holds no CA of a customer or group of ${o.trustDomain}`, { remedy: EXPORT });
  }
  for (const [index, certificate] of path.entries()) {
    const issuer = path[index + 1] ?? certificate;
    const proven = certificate.ca && certificate.mayCertify && certificate.x509.checkIssued(issuer.x509) && certificate.x509.verify(issuer.x509.publicKey);
    if (!proven) throw new WardcastError('CERT_FOREIGN_CA', `The chain in ${folder} does not lead to the provider's root`, { remedy: EXPORT });
    if (o.now > certificate.notAfter) throw new WardcastError('CERT_EXPIRED', `The CA in ${folder}, or one above it, has expired`, { remedy: EXPORT });
  }
  const key = readKey(keyPem, folder);
  if (!own.x509.checkPrivateKey(key)) throw new WardcastError('CERT_KEY_MISMATCH', `${folder}: key and chain do not belong together`, { remedy: EXPORT });
  const notAfter = new Date(Math.min(...path.map((certificate) => certificate.notAfter)));
  return { scope, trustDomain: o.trustDomain, certificatePem: own.x509.toString(), key, keyPem, chainPem, rootPem: o.rootPem, notAfter };
}

const EXPORT = 'Export it anew with `wardcast pki export-issuer` on the offline machine.';

function scopeOf({ uris, x509 }: Pick<Certificate, 'uris' | 'x509'>, trustDomain: string): CaScope | undefined {
  const [uri = '', ...others] = uris;
  const [, customer, group] = /^spiffe:\/\/[^/]+\/customer\/([a-z0-9-]+)(?:\/group\/([a-z0-9-]+))?$/.exec(uri) ?? [];
  if (customer === undefined || others.length > 0) return undefined;
  const scope: CaScope = group === undefined ? { kind: 'customer', customer } : { kind: 'group', customer, group, generation: generationOf(x509.subject) };
  return caUri(trustDomain, scope) === uri ? scope : undefined;
}

function readKey(pem: string, folder: string): ReturnType<typeof createPrivateKey> {
  try {
    return createPrivateKey(pem);
  } catch {
    // The cause is left out on purpose: OpenSSL's errors may quote what they read.
    throw new WardcastError('KEY_UNUSABLE', `${folder}: ${ISSUER_FILES.key} is no unencrypted private key in PEM`, { remedy: EXPORT });
  }
}

async function read(file: string): Promise<string> {
  try {
    return await readFile(file, 'utf8');
  } catch (error) {
    throw new WardcastError('KEY_UNUSABLE', `${file} cannot be read: ${systemCode(error) ?? String(error)}`, { remedy: EXPORT, cause: error });
  }
}
