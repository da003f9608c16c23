import { createPrivateKey, createPublicKey, generateKeyPair, type KeyObject, sign } from 'node:crypto';
import { link, readFile, stat, unlink } from 'node:fs/promises';
import { dirname } from 'node:path';
import { promisify } from 'node:util';
import { Key } from '@tufjs/models';
import { systemCode, WardcastError } from '../base/errors.ts';
import { canonicalJson } from '../bundle/canonical.ts';
import { sha256 } from '../bundle/digest.ts';
import { fsyncDirectory, temporaryName, writeSynced } from '../store/durable-file.ts';

/** A key that may verify: ed25519, or ECDSA on P-256 where it lives in a token. `keyId` is TUF's: sha256 of the key's canonical JSON (TUF 1.0, 4.2). */
export interface VerificationKey {
  readonly keyId: string;
  readonly publicKey: KeyObject;
}
/** Whatever signs with one key, wherever its private half lives: the seam for key files, encrypted files and tokens. */
export interface Signer extends VerificationKey {
  /** The signature as TUF writes it: 64 bytes for ed25519, DER for ECDSA. @throws KEY_UNUSABLE when the token refuses */
  sign(bytes: Buffer): Buffer;
}
/** A signer whose private half is in this process. */
export interface SigningKey extends Signer {
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
export function writeSigningKey(file: string, key: SigningKey): Promise<void> {
  return writeKeyFile(file, key.privateKey.export({ type: 'pkcs8', format: 'pem' }));
}

/** Whole or not at all, mode 0600, and never over an existing file. @throws CONFLICT, STORAGE_FAILED */
export async function writeKeyFile(file: string, content: string | Buffer): Promise<void> {
  const temporary = temporaryName(file);
  try {
    await writeSynced(temporary, content, 0o600);
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
  return signingKeyFromPem(file, await readKeyFile(file));
}

/** The bytes of a file that holds a secret. @throws KEY_UNUSABLE when it is missing or readable by others */
export async function readKeyFile(file: string): Promise<Buffer> {
  try {
    const { mode } = await stat(file);
    if ((mode & 0o077) !== 0) {
      throw new WardcastError('KEY_UNUSABLE', `The key file ${file} may be read by others (mode ${(mode & 0o777).toString(8)})`, {
        remedy: `Run: chmod 600 ${file}`,
      });
    }
    return await readFile(file);
  } catch (cause) {
    if (cause instanceof WardcastError) throw cause;
    throw new WardcastError('KEY_UNUSABLE', `The key file ${file} cannot be read: ${systemCode(cause) ?? String(cause)}`, {
      cause,
      remedy: 'Create keys with `wardcast keys`, and give this process read access to its own key only.',
    });
  }
}

/** @throws KEY_UNUSABLE */
export function signingKeyFromPem(file: string, pem: Buffer): SigningKey {
  let key: KeyObject;
  try {
    key = createPrivateKey(pem);
  } catch (cause) {
    throw new WardcastError('KEY_UNUSABLE', `The key file ${file} is no private key in PEM`, { cause, remedy: 'Create keys with `wardcast keys`.' });
  }
  if (key.asymmetricKeyType !== 'ed25519') {
    throw new WardcastError('KEY_UNUSABLE', `The key file ${file} holds a ${key.asymmetricKeyType ?? 'secret'} key, ed25519 is needed`);
  }
  return signingKey(key);
}

/** A signing key from its private half. */
export function signingKey(privateKey: KeyObject): SigningKey {
  const publicKey = createPublicKey(privateKey);
  return { keyId: keyIdOf(publicKey), publicKey, privateKey, sign: (bytes) => sign(null, bytes, privateKey) };
}

/** A verification key from what our metadata lists: 32 raw bytes in hex, or a P-256 point (`04…`, 65 bytes). @throws METADATA_INVALID */
export function verificationKey(publicHex: string): VerificationKey {
  const url = (from: number, to: number): string => Buffer.from(publicHex.slice(from, to), 'hex').toString('base64url');
  try {
    if (/^[0-9a-f]{64}$/.test(publicHex)) return named(createPublicKey({ format: 'jwk', key: { kty: 'OKP', crv: 'Ed25519', x: url(0, 64) } }));
    if (/^04[0-9a-f]{128}$/.test(publicHex)) {
      return named(createPublicKey({ format: 'jwk', key: { kty: 'EC', crv: 'P-256', x: url(2, 66), y: url(66, 130) } }));
    }
  } catch (cause) {
    throw new WardcastError('METADATA_INVALID', 'A listed key is no point of its curve', { cause });
  }
  throw new WardcastError('METADATA_INVALID', 'A listed key is no ed25519 and no P-256 key');
}

function named(publicKey: KeyObject): VerificationKey {
  return { keyId: keyIdOf(publicKey), publicKey };
}

/** The key in hex, as metadata and public key files have it. */
export function publicHex(key: VerificationKey): string {
  return rawHex(key.publicKey);
}

/** A verification key from what a token or another program wrote: PEM or DER SubjectPublicKeyInfo. @throws KEY_UNUSABLE */
export function verificationKeyFrom(what: string, bytes: Buffer): VerificationKey {
  try {
    const publicKey = bytes.subarray(0, 5).toString() === '-----' ? createPublicKey(bytes) : createPublicKey({ key: bytes, format: 'der', type: 'spki' });
    if (publicKey.asymmetricKeyType === 'ed25519' || publicKey.asymmetricKeyDetails?.namedCurve === 'prime256v1') return named(publicKey);
    throw new WardcastError('KEY_UNUSABLE', `${what} is a ${publicKey.asymmetricKeyType} key; ed25519 or P-256 is needed`);
  } catch (cause) {
    if (cause instanceof WardcastError) throw cause;
    throw new WardcastError('KEY_UNUSABLE', `${what} is no public key`, { cause });
  }
}

/** The key as TUF metadata lists it. */
export function tufKey(key: VerificationKey): Key {
  const { keytype, scheme, keyval } = listing(key.publicKey);
  return new Key({ keyID: key.keyId, keyType: keytype, scheme, keyVal: keyval });
}

function keyIdOf(publicKey: KeyObject): string {
  return sha256(canonicalJson(listing(publicKey)));
}

/** P-256 as a bare point, not as PEM: canonical JSON of ours has no line breaks. */
function listing(publicKey: KeyObject): { keytype: string; scheme: string; keyval: { public: string } } {
  const keyval = { public: rawHex(publicKey) };
  return publicKey.asymmetricKeyType === 'ed25519'
    ? { keytype: 'ed25519', scheme: 'ed25519', keyval }
    : { keytype: 'ecdsa', scheme: 'ecdsa-sha2-nistp256', keyval };
}

function rawHex(publicKey: KeyObject): string {
  // The key itself ends a SubjectPublicKeyInfo: 32 bytes of ed25519 (RFC 8410), 65 of an uncompressed P-256 point (RFC 5480).
  const size = publicKey.asymmetricKeyType === 'ed25519' ? 32 : 65;
  return publicKey.export({ type: 'spki', format: 'der' }).subarray(-size).toString('hex');
}
