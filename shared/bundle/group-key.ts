import { createCipheriv, createDecipheriv, hkdfSync, randomBytes } from 'node:crypto';
import { WardcastError } from '../base/errors.ts';
import type { Bundle } from './bundle.ts';
import { type ContentKeys, contentKeyId } from './content-key.ts';
import { sha256 } from './digest.ts';

/**
 * The key of one group at one site in one epoch: content keys travel wrapped under it, in the group's signed bundle. Who is entitled gets it from the
 * provider (shared/wire/group-key-answer.ts); a new epoch begins when somebody leaves the group. docs/decisions/content-encryption.md.
 */
export const GROUP_KEY_BYTES = 32;
/** RFC 3394, 2.2.3.1: what is unwrapped is right only if this comes out with it. */
const WRAP_IV = Buffer.alloc(8, 0xa6);
const NO_SALT = Buffer.alloc(0);

export function newGroupKey(): Buffer {
  return randomBytes(GROUP_KEY_BYTES);
}

/** What a bundle says of the key without saying the key, 64 hex digits: HKDF-SHA256 (RFC 5869), then SHA-256, so that no second key fits. */
export function groupKeyCommitment(key: Buffer): string {
  return sha256(Buffer.from(hkdfSync('sha256', key, NO_SALT, 'wardcast group key id', GROUP_KEY_BYTES)));
}

/** AES-256 key wrap (RFC 3394; NIST SP 800-38F): deterministic, needs no nonce, and its 8 bytes of integrity tell a wrong key. @returns base64 */
export function wrapContentKey(contentKey: Buffer, groupKey: Buffer): string {
  const cipher = createCipheriv('id-aes256-wrap', groupKey, WRAP_IV);
  return Buffer.concat([cipher.update(contentKey), cipher.final()]).toString('base64');
}

/** @throws KEY_UNUSABLE when it was wrapped under another key, or damaged */
export function unwrapContentKey(wrapped: string, groupKey: Buffer): Buffer {
  try {
    const decipher = createDecipheriv('id-aes256-wrap', groupKey, WRAP_IV);
    return Buffer.concat([decipher.update(Buffer.from(wrapped, 'base64')), decipher.final()]);
  } catch (cause) {
    throw new WardcastError('KEY_UNUSABLE', 'A content key in the bundle does not open with the group key that the bundle names', {
      cause,
      remedy: 'The provider signed it wrongly: begin a new epoch with `wardcast group rotate-key`.',
    });
  }
}

/**
 * The content keys of one release of a bundle, by id.
 * @param keyOf the group key of an epoch with this commitment; undefined: it is not here
 * @returns none when the release has none or the group key is not here. @throws KEY_UNUSABLE
 */
export function contentKeysIn(
  bundle: Pick<Bundle, 'groupKey' | 'releases'>,
  manifest: string,
  keyOf: (ref: NonNullable<Bundle['groupKey']>) => Buffer | undefined,
): ContentKeys {
  const wrapped = bundle.releases.find((release) => release.manifest === manifest)?.keys ?? [];
  const groupKey = bundle.groupKey === undefined || wrapped.length === 0 ? undefined : keyOf(bundle.groupKey);
  if (groupKey === undefined) return new Map();
  return new Map(wrapped.map((text) => unwrapContentKey(text, groupKey)).map((key) => [contentKeyId(key), key]));
}
