import { createPrivateKey, createPublicKey } from 'node:crypto';
import { readFile, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { createKeyPair, type KeyPair } from '../../../certs/build.ts';
import { type Credentials, checkCredentials, LEAF_FILE } from '../../../certs/credentials.ts';
import { createRequest, readRequest } from '../../../certs/request.ts';
import { systemCode, WardcastError } from '../../base/errors.ts';
import { type Identity, identityPath } from '../../base/identity.ts';
import { fsyncDirectory, makeDirectory, removeLeftovers, writeDurably } from '../../store/durable-file.ts';

/** A key that is asked to be certified. It never leaves the device. */
export interface NextKey {
  readonly keyPem: string;
  /** PKCS#10, DER. */
  readonly request: Buffer;
  /** sha256 of the public key, in hex. */
  readonly key: string;
}

/** A key that has no certificate yet; at most one. */
const NEXT_FILE = 'next.pem';

/**
 * The key to ask with, made now if none is waiting. It is on the disk before anybody hears of it: whatever is cut short, the same key asks again, and a
 * provider that answered already answers again.
 * @throws STORAGE_FAILED
 */
export async function nextKey(directory: string, name: string): Promise<NextKey> {
  await makeDirectory(directory, 0o700);
  await removeLeftovers(directory);
  const file = join(directory, NEXT_FILE);
  const pair = (await readPair(file)) ?? (await makePair(file));
  const request = createRequest(pair, name);
  return { keyPem: pair.keyPem, request, key: readRequest(request).key };
}

/** Forgets the waiting key: the next one asked with is new. */
export async function dropKey(directory: string): Promise<void> {
  await rm(join(directory, NEXT_FILE), { force: true });
  await fsyncDirectory(directory);
}

/**
 * Puts a leaf in place that was issued for `next`: key and chain at once, by one rename, so that a kill leaves the old pair or the new.
 * @throws CERT_*, KEY_UNUSABLE when it is not for this key and root, or not who `accept` wants; STORAGE_FAILED
 */
export async function installLeaf(
  directory: string,
  o: {
    readonly next: Pick<NextKey, 'keyPem'>;
    readonly chainPem: string;
    readonly rootPem: string;
    readonly accept: (identity: Identity) => boolean;
  },
): Promise<Credentials> {
  const { chainPem, rootPem } = o;
  const keyPem = o.next.keyPem.endsWith('\n') ? o.next.keyPem : `${o.next.keyPem}\n`;
  const credentials = checkCredentials({ keyPem, chainPem, rootPem }, directory);
  if (!o.accept(credentials.identity)) {
    throw new WardcastError('CERT_WRONG_ROLE', `A certificate came for ${identityPath(credentials.identity)}, which was not asked for`);
  }
  await writeDurably(join(directory, LEAF_FILE), `${keyPem}${chainPem}`, 0o600);
  await dropKey(directory);
  return credentials;
}

/** DER in base64, as it travels. @throws PROTOCOL_VIOLATION */
export function chainPemOf(chain: readonly string[]): string {
  return chain
    .map((der) => {
      if (!/^[A-Za-z0-9+/]+={0,2}$/.test(der)) throw new WardcastError('PROTOCOL_VIOLATION', 'An answer carries a certificate that is none');
      return `-----BEGIN CERTIFICATE-----\n${(der.match(/.{1,64}/g) ?? []).join('\n')}\n-----END CERTIFICATE-----\n`;
    })
    .join('');
}

async function readPair(file: string): Promise<KeyPair | undefined> {
  try {
    const keyPem = await readFile(file, 'utf8');
    const privateKey = createPrivateKey(keyPem);
    return { keyPem, privateKey, publicKey: createPublicKey(privateKey) };
  } catch (error) {
    if (systemCode(error) === 'ENOENT') return undefined;
    // The cause is left out on purpose: OpenSSL's errors may quote what they read.
    throw new WardcastError('STORAGE_FAILED', `${file} cannot be read as a private key`, { remedy: 'Remove it: the next attempt makes a new key.' });
  }
}

async function makePair(file: string): Promise<KeyPair> {
  const pair = await createKeyPair();
  await writeDurably(file, pair.keyPem, 0o600);
  return pair;
}
