import { createPrivateKey, type KeyObject } from 'node:crypto';
import { access, open } from 'node:fs/promises';
import { join } from 'node:path';
import { type Clock, type Moment, momentOf } from '../shared/base/clock.ts';
import { type ErrorCode, systemCode, WardcastError } from '../shared/base/errors.ts';
import type { Identity } from '../shared/base/identity.ts';
import { MAX_PEM_FILE } from '../shared/base/limits.ts';
import { readCertificate } from './certificate.ts';
import { verifyChain } from './identity.ts';
import { readPemChain } from './pem.ts';
import { usagesOf } from './scope.ts';

/** The files of a daemon's credentials folder. */
export const CREDENTIAL_FILES = { key: 'key.pem', chain: 'chain.pem', root: 'root.pem' } as const;
/**
 * Key and chain in one file, so that one rename replaces both: what a daemon obtained itself. Beside `key.pem` and `chain.pem`, the newer leaf counts.
 */
export const LEAF_FILE = 'leaf.pem';

/** Who a daemon is and how it proves it. Holds the private key: never log it. */
export interface Credentials {
  readonly identity: Identity;
  readonly trustDomain: string;
  readonly key: KeyObject;
  readonly keyPem: string;
  /** Leaf and issuing CAs, without the root. */
  readonly chainPem: string;
  readonly rootPem: string;
  /** DER, leaf first. */
  readonly chain: readonly Buffer[];
  /** When the first certificate of the chain expires. */
  readonly expires: Date;
  /** When the last certificate of the chain began to be valid: its CA says that this instant is past. */
  readonly begins: Date;
  /** Calls back when key and chain are replaced by newer ones of the same identity; absent: they never are. */
  readonly onRenewed?: (listener: () => void) => void;
}

/**
 * Reads a credentials folder and refuses it now, with the reason, where a TLS peer would refuse it later without one.
 * @throws KEY_UNUSABLE, CERT_KEY_MISMATCH, CERT_INVALID, CERT_EXPIRED, CERT_NOT_YET_VALID, CERT_FOREIGN_CA, CERT_ISSUER_MISMATCH,
 *   CERT_IS_CA, CERT_LEAF_AS_CA, CERT_WRONG_USAGE, CERT_BAD_IDENTITY
 */
export async function loadCredentials(directory: string, clock: Clock): Promise<Credentials> {
  return inspect(await readFolder(directory), momentOf(clock), directory);
}

/**
 * The same at whatever time it is: for daemons that must go on with what they have when their certificate has expired, or their clock says so.
 * @throws as loadCredentials, without CERT_EXPIRED and CERT_NOT_YET_VALID
 */
export async function loadTimelessCredentials(directory: string): Promise<Credentials> {
  return inspect(await readFolder(directory), { now: Number.NEGATIVE_INFINITY, latest: Number.POSITIVE_INFINITY }, directory);
}

/** `now`, or the end of this leaf's life if that is over. Nothing is proven by it. @throws CERT_INVALID */
export function lastMoment(leaf: Buffer | undefined, now: number): number {
  return leaf === undefined ? now : Math.min(now, readCertificate(leaf).notAfter);
}

/** The same of a chain that was just issued for `keyPem`: whoever issued it knows what time it is. @throws as loadTimelessCredentials */
export function checkCredentials(pem: { keyPem: string; chainPem: string; rootPem: string }, directory: string): Credentials {
  return inspect(pem, { now: Number.NEGATIVE_INFINITY, latest: Number.POSITIVE_INFINITY }, directory);
}

/** Is there a leaf in this folder at all, good or bad? */
export async function hasLeaf(directory: string): Promise<boolean> {
  return (await exists(join(directory, LEAF_FILE))) || (await exists(join(directory, CREDENTIAL_FILES.chain))) || exists(join(directory, CREDENTIAL_FILES.key));
}

async function readFolder(directory: string): Promise<{ keyPem: string; chainPem: string; rootPem: string }> {
  const at = (name: string): string => join(directory, name);
  const rootPem = await readText(at(CREDENTIAL_FILES.root), 'CERT_INVALID');
  const leaf = (await exists(at(LEAF_FILE))) ? splitLeaf(await readText(at(LEAF_FILE), 'KEY_UNUSABLE', { secret: true })) : undefined;
  if (leaf !== undefined && !(await exists(at(CREDENTIAL_FILES.chain)))) return { ...leaf, rootPem };
  const chainPem = await readText(at(CREDENTIAL_FILES.chain), 'CERT_INVALID');
  if (leaf !== undefined && startOf(leaf.chainPem) >= startOf(chainPem)) return { ...leaf, rootPem };
  return { keyPem: await readText(at(CREDENTIAL_FILES.key), 'KEY_UNUSABLE', { secret: true }), chainPem, rootPem };
}

function splitLeaf(pem: string): { keyPem: string; chainPem: string } {
  const at = Math.max(0, pem.indexOf('-----BEGIN CERTIFICATE-----'));
  return { keyPem: pem.slice(0, at), chainPem: pem.slice(at) };
}

function startOf(chainPem: string): number {
  const [leaf] = readPemChain(chainPem);
  return leaf === undefined ? 0 : readCertificate(leaf).notBefore;
}

async function exists(file: string): Promise<boolean> {
  try {
    await access(file);
    return true;
  } catch {
    return false;
  }
}

/** The root that a folder trusts. @throws CERT_INVALID */
export function loadRoot(directory: string): Promise<string> {
  return readText(join(directory, CREDENTIAL_FILES.root), 'CERT_INVALID');
}

function inspect(pem: { keyPem: string; chainPem: string; rootPem: string }, moment: Moment, directory: string): Credentials {
  const chain = readPemChain(pem.chainPem);
  const verified = verifyChain(chain, pem.rootPem, { ...moment, usage: 'signature' });
  for (const usage of usagesOf(verified.identity.role)) verifyChain(chain, pem.rootPem, { ...moment, usage });
  const key = readKey(pem.keyPem, directory);
  if (!verified.leaf.checkPrivateKey(key)) {
    throw new WardcastError('CERT_KEY_MISMATCH', `${directory}: the private key does not belong to the first certificate of the chain`, {
      remedy: 'Key and chain are made together: copy both from the same folder, or issue the certificate anew.',
    });
  }
  const { identity, trustDomain, notBefore, notAfter } = verified;
  return { ...pem, key, chain, identity, trustDomain, begins: new Date(notBefore), expires: new Date(notAfter) };
}

function readKey(pem: string, directory: string): KeyObject {
  try {
    return createPrivateKey(pem);
  } catch {
    // The cause is left out on purpose: OpenSSL's errors may quote what they read.
    throw new WardcastError('KEY_UNUSABLE', `${directory}: ${CREDENTIAL_FILES.key} is no unencrypted private key in PEM`, {
      remedy: 'Issue key and certificate anew with `wardcast pki`.',
    });
  }
}

async function readText(file: string, code: ErrorCode, options: { secret?: boolean } = {}): Promise<string> {
  try {
    await using handle = await open(file, 'r');
    const stat = await handle.stat();
    if (stat.size > MAX_PEM_FILE)
      throw new WardcastError(code, `${file} has ${stat.size} bytes: that is no PEM file of ours`, { remedy: 'Put the file there that `wardcast pki` wrote.' });
    if (options.secret === true && process.platform !== 'win32' && (stat.mode & 0o077) !== 0) {
      throw new WardcastError('KEY_UNUSABLE', `${file} can be read by others (mode ${(stat.mode & 0o777).toString(8)})`, {
        remedy: `chmod 600 ${file}; if others had access to it, issue a new key.`,
      });
    }
    return await handle.readFile('utf8');
  } catch (error) {
    if (error instanceof WardcastError) throw error;
    throw new WardcastError(code, `${file} cannot be read: ${systemCode(error) ?? String(error)}`, {
      remedy: 'The folder needs key.pem, chain.pem and root.pem, as `wardcast pki` writes them, readable by this user.',
      cause: error,
    });
  }
}
