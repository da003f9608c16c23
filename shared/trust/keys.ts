import { createPrivateKey, createPublicKey, generateKeyPair, type KeyObject } from 'node:crypto';
import { link, readFile, stat, unlink } from 'node:fs/promises';
import { dirname } from 'node:path';
import { promisify } from 'node:util';
import { Key } from '@tufjs/models';
import { systemCode, WardcastError } from '../base/errors.ts';
import { canonicalJson } from '../bundle/canonical.ts';
import { sha256 } from '../bundle/digest.ts';
import { fsyncDirectory, temporaryName, writeSynced } from '../store/durable-file.ts';

/** An ed25519 key that may verify. `keyId` is TUF's: sha256 of the key's canonical JSON (TUF 1.0, 4.2). */
export interface VerificationKey {
  readonly keyId: string;
  readonly publicKey: KeyObject;
}
/** An ed25519 key that may sign. */
export interface SigningKey extends VerificationKey {
  readonly privateKey: KeyObject;
}

const generate = promisify(generateKeyPair);

export async function createSigningKey(): Promise<SigningKey> {
  const { privateKey } = await generate('ed25519', undefined);
  return signingKey(privateKey);
}

/** The key as others may see it. */
export function publicOnly(key: VerificationKey): VerificationKey {
  return { keyId: key.keyId, publicKey: key.publicKey };
}

/** Writes PKCS#8 PEM, mode 0600. Whole or not at all, and never over an existing file. @throws CONFLICT, STORAGE_FAILED */
export async function writeSigningKey(file: string, key: SigningKey): Promise<void> {
  const temporary = temporaryName(file);
  try {
    await writeSynced(temporary, key.privateKey.export({ type: 'pkcs8', format: 'pem' }), 0o600);
    try {
      // A link fails where a rename would replace: a key is never lost to a second ceremony.
      await link(temporary, file);
    } finally {
      await unlink(temporary);
    }
    await fsyncDirectory(dirname(file));
  } catch (cause) {
    if (systemCode(cause) === 'EEXIST') {
      throw new WardcastError('CONFLICT', `The key file ${file} exists already`, { cause, remedy: 'Choose another folder; keys are never overwritten.' });
    }
    throw new WardcastError('STORAGE_FAILED', `The key file ${file} could not be written`, { cause });
  }
}

/** @throws KEY_UNUSABLE when it is missing, no ed25519 private key, or readable by others */
export async function readSigningKey(file: string): Promise<SigningKey> {
  let key: KeyObject;
  try {
    const { mode } = await stat(file);
    if ((mode & 0o077) !== 0) {
      throw new WardcastError('KEY_UNUSABLE', `The key file ${file} may be read by others (mode ${(mode & 0o777).toString(8)})`, {
        remedy: `Run: chmod 600 ${file}`,
      });
    }
    key = createPrivateKey(await readFile(file));
  } catch (cause) {
    if (cause instanceof WardcastError) throw cause;
    throw new WardcastError('KEY_UNUSABLE', `The key file ${file} is missing or is no private key in PEM`, {
      cause,
      remedy: 'Create keys with `wardcast pki`, and give this process read access to its own key only.',
    });
  }
  if (key.asymmetricKeyType !== 'ed25519') {
    throw new WardcastError('KEY_UNUSABLE', `The key file ${file} holds a ${key.asymmetricKeyType ?? 'secret'} key, ed25519 is needed`);
  }
  return signingKey(key);
}

/** A signing key from its private half. */
export function signingKey(privateKey: KeyObject): SigningKey {
  const publicKey = createPublicKey(privateKey);
  return { keyId: keyIdOf(publicKey), publicKey, privateKey };
}

/** A verification key from the 32 raw bytes in hex that TUF metadata lists. @throws METADATA_INVALID */
export function verificationKey(publicHex: string): VerificationKey {
  if (!/^[0-9a-f]{64}$/.test(publicHex)) throw new WardcastError('METADATA_INVALID', 'A listed key is no ed25519 key');
  const publicKey = createPublicKey({ format: 'jwk', key: { kty: 'OKP', crv: 'Ed25519', x: Buffer.from(publicHex, 'hex').toString('base64url') } });
  return { keyId: keyIdOf(publicKey), publicKey };
}

/** The key as TUF metadata lists it. */
export function tufKey(key: VerificationKey): Key {
  return new Key({ keyID: key.keyId, keyType: 'ed25519', scheme: 'ed25519', keyVal: { public: rawHex(key.publicKey) } });
}

function keyIdOf(publicKey: KeyObject): string {
  return sha256(canonicalJson({ keytype: 'ed25519', scheme: 'ed25519', keyval: { public: rawHex(publicKey) } }));
}

function rawHex(publicKey: KeyObject): string {
  // The last 32 bytes of an ed25519 SubjectPublicKeyInfo are the key itself (RFC 8410).
  return publicKey.export({ type: 'spki', format: 'der' }).subarray(-32).toString('hex');
}
