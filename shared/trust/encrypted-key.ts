import { createCipheriv, createDecipheriv, createPrivateKey, randomBytes, scrypt } from 'node:crypto';
import { z } from 'zod';
import { WardcastError } from '../base/errors.ts';
import { MIN_PASSPHRASE, SCRYPT_COST, SCRYPT_MAX_COST } from '../base/limits.ts';
import { canonicalJson } from '../bundle/canonical.ts';
import { publicHex, type SigningKey, signingKey, type VerificationKey, verificationKey } from './keys.ts';

const Hex = z.string().regex(/^(?:[0-9a-f]{2})+$/);
const EncryptedKey = z.strictObject({
  format: z.literal('wardcast-encrypted-key-1'),
  /** Open to all who hold the file, and bound to the ciphertext. */
  public: Hex.length(64),
  kdf: z.strictObject({
    name: z.literal('scrypt'),
    cost: z.int().min(2).max(SCRYPT_MAX_COST),
    block: z.literal(8),
    parallel: z.literal(1),
    salt: Hex.length(64),
  }),
  cipher: z.strictObject({ name: z.literal('aes-256-gcm'), nonce: Hex.length(24), tag: Hex.length(32) }),
  ciphertext: Hex.max(1024),
});
type Header = Pick<z.infer<typeof EncryptedKey>, 'format' | 'public' | 'kdf'>;

/**
 * A private key under a passphrase: PKCS#8 in AES-256-GCM, the key by scrypt. Salt and nonce are fresh for each file, so no pair of key and
 * nonce is used twice; everything but the ciphertext is authenticated with it.
 * @throws USAGE when the passphrase is too short
 */
export async function encryptKey(key: SigningKey, passphrase: Buffer, cost = SCRYPT_COST): Promise<Buffer> {
  if (passphrase.length < MIN_PASSPHRASE) throw new WardcastError('USAGE', `The passphrase has fewer than ${MIN_PASSPHRASE} characters`);
  const header: Header = {
    format: 'wardcast-encrypted-key-1',
    public: publicHex(key),
    kdf: { name: 'scrypt', cost, block: 8, parallel: 1, salt: randomBytes(32).toString('hex') },
  };
  const nonce = randomBytes(12);
  const cipher = createCipheriv('aes-256-gcm', await derive(passphrase, header), nonce).setAAD(canonicalJson(header));
  const ciphertext = Buffer.concat([cipher.update(key.privateKey.export({ type: 'pkcs8', format: 'der' })), cipher.final()]);
  const file = {
    ...header,
    cipher: { name: 'aes-256-gcm', nonce: nonce.toString('hex'), tag: cipher.getAuthTag().toString('hex') },
    ciphertext: ciphertext.toString('hex'),
  };
  return Buffer.from(`${JSON.stringify(file, null, 2)}\n`);
}

/** The public half, for which no passphrase is needed. @throws KEY_UNUSABLE, METADATA_INVALID */
export function publicOfEncrypted(file: string, bytes: Buffer): VerificationKey {
  return verificationKey(parse(file, bytes).public);
}

/** @throws KEY_UNUSABLE for a wrong passphrase and a changed file alike */
export async function decryptKey(file: string, bytes: Buffer, passphrase: Buffer): Promise<SigningKey> {
  const { cipher, ciphertext, ...header } = parse(file, bytes);
  try {
    // Inside: a file may name a cost that scrypt does not take.
    const secret = await derive(passphrase, header);
    const decipher = createDecipheriv('aes-256-gcm', secret, Buffer.from(cipher.nonce, 'hex'), { authTagLength: 16 });
    decipher.setAAD(canonicalJson(header)).setAuthTag(Buffer.from(cipher.tag, 'hex'));
    const der = Buffer.concat([decipher.update(Buffer.from(ciphertext, 'hex')), decipher.final()]);
    return signingKey(createPrivateKey({ key: der, format: 'der', type: 'pkcs8' }));
  } catch (cause) {
    throw new WardcastError('KEY_UNUSABLE', `The key file ${file} does not open: the passphrase is wrong or the file was changed`, { cause });
  }
}

function parse(file: string, bytes: Buffer): z.infer<typeof EncryptedKey> {
  try {
    return EncryptedKey.parse(JSON.parse(bytes.toString('utf8')));
  } catch (cause) {
    throw new WardcastError('KEY_UNUSABLE', `The key file ${file} is no encrypted key`, { cause });
  }
}

function derive(passphrase: Buffer, { kdf }: Header): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    const options = { N: kdf.cost, r: kdf.block, p: kdf.parallel, maxmem: 160 * kdf.cost * kdf.block };
    scrypt(passphrase, Buffer.from(kdf.salt, 'hex'), 32, options, (error, key) => (error === null ? resolve(key) : reject(error)));
  });
}
