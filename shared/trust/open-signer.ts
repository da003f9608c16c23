import { access, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { systemCode, WardcastError } from '../base/errors.ts';
import { decryptKey, publicOfEncrypted } from './encrypted-key.ts';
import { readKeyFile, type Signer, signingKeyFromPem, type VerificationKey } from './keys.ts';
import { openTokenSigner } from './pkcs11-signer.ts';
import type { SecretSource } from './secret-source.ts';

const nobody: SecretSource = (what) =>
  Promise.reject(
    new WardcastError('KEY_UNUSABLE', `The ${what} is needed and nobody can be asked for it`, {
      remedy: 'A daemon takes a plain key file (0600), or a token with pin-source=file:/path in its URI.',
    }),
  );

/** Where a key of this name may lie in a folder: plain, encrypted, or as the URI of a token. */
const ENDINGS = ['.pem', '.key', '.pkcs11'] as const;

/** The file of a key, whichever kind it is; the plain one's name when there is none. */
export async function findKey(folder: string, name: string): Promise<string> {
  for (const ending of ENDINGS) {
    const file = join(folder, `${name}${ending}`);
    const found = await access(file).then(
      () => true,
      () => false,
    );
    if (found) return file;
  }
  return join(folder, `${name}.pem`);
}

/**
 * A signer by what names it: a PEM or encrypted key file, a `.pkcs11` file that holds a URI, or the `pkcs11:` URI itself.
 * @throws KEY_UNUSABLE, USAGE
 */
export async function openSigner(reference: string, secrets: SecretSource = nobody): Promise<Signer> {
  const uri = await tokenUri(reference);
  if (uri !== undefined) return openTokenSigner(uri, secrets);
  const bytes = await readKeyFile(reference);
  if (!isEncrypted(bytes)) return signingKeyFromPem(reference, bytes);
  // The header is looked at first: nobody types a passphrase for a file that is none.
  publicOfEncrypted(reference, bytes);
  return decryptKey(reference, bytes, await secrets(`passphrase of ${reference}`));
}

/** The public half of a signer, for which nothing secret is needed but the plain key file itself. @throws KEY_UNUSABLE, USAGE */
export async function publicOf(reference: string): Promise<VerificationKey> {
  const uri = await tokenUri(reference);
  if (uri !== undefined) return openTokenSigner(uri, () => Promise.resolve(Buffer.alloc(0)));
  const bytes = await readKeyFile(reference);
  return isEncrypted(bytes) ? publicOfEncrypted(reference, bytes) : signingKeyFromPem(reference, bytes);
}

function isEncrypted(bytes: Buffer): boolean {
  return bytes.subarray(0, 1).toString() === '{';
}

async function tokenUri(reference: string): Promise<string | undefined> {
  if (reference.startsWith('pkcs11:')) return reference;
  if (!reference.endsWith('.pkcs11')) return undefined;
  try {
    return (await readFile(reference, 'utf8')).trim();
  } catch (cause) {
    throw new WardcastError('KEY_UNUSABLE', `${reference} cannot be read: ${systemCode(cause) ?? String(cause)}`, { cause });
  }
}
