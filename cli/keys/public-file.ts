import { readFile } from 'node:fs/promises';
import { z } from 'zod';
import { systemCode, WardcastError } from '../../shared/base/errors.ts';
import { publicHex, type VerificationKey, verificationKey } from '../../shared/trust/keys.ts';
import { publicOf } from '../../shared/trust/open-signer.ts';

const PublicFile = z.strictObject({ format: z.literal('wardcast-public-key-1'), keyId: z.string(), public: z.string() });

/** What is carried to whoever drafts a root: nothing secret. */
export function printPublicKey(key: VerificationKey): string {
  return `${JSON.stringify({ format: 'wardcast-public-key-1', keyId: key.keyId, public: publicHex(key) }, null, 2)}\n`;
}

/** From a `.pub` file, a key file or a token. @throws KEY_UNUSABLE, METADATA_INVALID, USAGE */
export async function readPublicKey(reference: string): Promise<VerificationKey> {
  if (!reference.endsWith('.pub')) return publicOf(reference);
  try {
    const file = PublicFile.parse(JSON.parse(await readFile(reference, 'utf8')));
    const key = verificationKey(file.public);
    if (key.keyId === file.keyId) return key;
  } catch (cause) {
    throw new WardcastError('KEY_UNUSABLE', `${reference} is no public key: ${systemCode(cause) ?? 'it is malformed'}`, { cause });
  }
  throw new WardcastError('KEY_UNUSABLE', `${reference} does not hold the key whose id it names`);
}
