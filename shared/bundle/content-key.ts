import { hkdfSync, randomBytes } from 'node:crypto';
import { sha256 } from './digest.ts';

/** Bytes of a content key: the secret of one release, from which the key of each of its chunks follows. */
export const CONTENT_KEY_BYTES = 32;

/** Content keys by id. */
export type ContentKeys = ReadonlyMap<string, Buffer>;

const NO_SALT = Buffer.alloc(0);

export function newContentKey(): Buffer {
  return randomBytes(CONTENT_KEY_BYTES);
}

/** The public name of a content key, 64 hex digits: it commits to the key and tells nothing of it (HKDF-SHA256, RFC 5869, then SHA-256). */
export function contentKeyId(key: Buffer): string {
  return sha256(derive(key, 'wardcast content key id'));
}

/** What seals this one content and no other. */
export interface ChunkKeys {
  readonly encryption: Buffer;
  /** From which the nonce follows. */
  readonly nonce: Buffer;
}

/**
 * Secret, and a function of the content, so that the same content has the same wire form in every release sealed under this content key (message-locked
 * encryption under a secret: Bellare, Keelveedhi, Ristenpart, DupLESS, USENIX Security 2013).
 * @param plain sha256 of the content
 */
export function chunkKeys(key: Buffer, plain: string): ChunkKeys {
  const both = derive(key, `wardcast chunk ${plain}`, 64);
  return { encryption: both.subarray(0, 32), nonce: both.subarray(32) };
}

function derive(key: Buffer, info: string, bytes = CONTENT_KEY_BYTES): Buffer {
  return Buffer.from(hkdfSync('sha256', key, NO_SALT, info, bytes));
}
