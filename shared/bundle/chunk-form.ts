import { createCipheriv, createDecipheriv, createHmac } from 'node:crypto';
import { constants, zstdCompressSync, zstdDecompressSync } from 'node:zlib';
import { WardcastError } from '../base/errors.ts';
import { CHUNK_ZSTD_LEVEL, CHUNK_ZSTD_SAVES } from '../base/limits.ts';
import { type ChunkKeys, type ContentKeys, chunkKeys, contentKeyId } from './content-key.ts';
import { sha256 } from './digest.ts';
import type { ChunkRef, Manifest } from './manifest-shape.ts';

/**
 * The wire form of a chunk: what lies on the provider's and the gateway's disks and travels between all, named by its hash. Content → zstd (RFC 8878) where
 * that makes it smaller → AES-256-GCM (NIST SP 800-38D) in encrypted releases. docs/bundle-format.md, docs/decisions/content-encryption.md.
 */

const NONCE_BYTES = 12;
const TAG_BYTES = 16;
/** What encryption adds: the nonce before, the tag of AES-GCM behind. */
export const SEAL_BYTES = NONCE_BYTES + TAG_BYTES;

/** Bytes of the wire form. */
export function wireSize({ size, wire }: ChunkRef): number {
  return wire ?? size;
}

/** sha256 of the content. */
export function plainHash({ hash, plain }: ChunkRef): string {
  return plain ?? hash;
}

/** The content key that fresh chunks of a release are sealed under. */
export interface Sealing {
  readonly key: Buffer;
  /** Its place in the manifest's list. */
  readonly index: number;
}

/** Makes the wire form of a content for the first time. */
export function packChunk(content: Buffer, sealing?: Sealing): { readonly chunk: ChunkRef; readonly wire: Buffer } {
  const plain = sha256(content);
  const small = compressed(content);
  const packed = small ?? content;
  if (sealing === undefined) {
    if (small === undefined) return { chunk: { hash: plain, size: content.length }, wire: content };
    return { chunk: { hash: sha256(small), size: content.length, wire: small.length, plain }, wire: small };
  }
  const wire = encrypt(packed, chunkKeys(sealing.key, plain));
  return { chunk: { hash: sha256(wire), size: content.length, wire: wire.length, plain, key: sealing.index }, wire };
}

/** Turns the chunks of one release into content and back. */
export class ChunkCodec {
  readonly #keys: readonly (Buffer | undefined)[];

  /** @param keys that are known; without one its chunks can be passed on, not read */
  constructor(manifest: Pick<Manifest, 'encryption'>, keys: ContentKeys = new Map()) {
    this.#keys = (manifest.encryption?.keys ?? []).map((id) => keys.get(id));
  }

  /** @throws CONTENT_KEY_ABSENT when chunks of the release cannot be read */
  requireKeys(): void {
    if (this.#keys.includes(undefined)) throw keyAbsent();
  }

  /**
   * The content of a wire form whose hash is proven.
   * @throws CONTENT_KEY_ABSENT; HASH_MISMATCH when it is not what the manifest says: the signature on the manifest covers both hashes, so one of them lies
   */
  decode(wire: Buffer, chunk: ChunkRef): Buffer {
    if (chunk.plain === undefined) return wire;
    const packed = chunk.key === undefined ? wire : decrypt(wire, this.#chunkKeys(chunk, chunk.key), chunk);
    const content = isCompressed(chunk) ? expand(packed, chunk) : packed;
    if (content.length !== chunk.size || sha256(content) !== chunk.plain) throw mismatch(chunk);
    return content;
  }

  /**
   * The wire form of a content, as it was first made. Another release of zstd may make other bytes of the same content: then it is undefined, and whoever
   * asked gets the chunk elsewhere.
   * @throws CONTENT_KEY_ABSENT
   */
  encode(content: Buffer, chunk: ChunkRef): Buffer | undefined {
    if (chunk.plain === undefined) return content;
    const packed = isCompressed(chunk) ? compressed(content) : content;
    if (packed === undefined) return undefined;
    const wire = chunk.key === undefined ? packed : encrypt(packed, this.#chunkKeys(chunk, chunk.key));
    return sha256(wire) === chunk.hash ? wire : undefined;
  }

  #chunkKeys({ plain, hash }: ChunkRef, index: number): ChunkKeys {
    const key = this.#keys[index];
    if (key !== undefined) return chunkKeys(key, plain ?? hash);
    throw keyAbsent(hash);
  }
}

/** The keys whose ids the manifest names; others are left out. */
export function keysOf(manifest: Pick<Manifest, 'encryption'>, keys: Iterable<Buffer>): Map<string, Buffer> {
  const named = new Set(manifest.encryption?.keys);
  const found = new Map<string, Buffer>();
  for (const key of keys) {
    const id = contentKeyId(key);
    if (named.has(id)) found.set(id, key);
  }
  return found;
}

function isCompressed(chunk: ChunkRef): boolean {
  return wireSize(chunk) - (chunk.key === undefined ? 0 : SEAL_BYTES) < chunk.size;
}

/** Undefined: not worth it. Whoever reads it a second time decides the same. */
function compressed(content: Buffer): Buffer | undefined {
  const small = zstdCompressSync(content, { params: { [constants.ZSTD_c_compressionLevel]: CHUNK_ZSTD_LEVEL } });
  return small.length <= content.length * (1 - CHUNK_ZSTD_SAVES) ? small : undefined;
}

/** @throws HASH_MISMATCH: a bomb ends at the size that the manifest names */
function expand(packed: Buffer, chunk: ChunkRef): Buffer {
  try {
    return zstdDecompressSync(packed, { maxOutputLength: chunk.size });
  } catch (cause) {
    throw mismatch(chunk, cause);
  }
}

/**
 * The nonce follows from what is encrypted (as in SIV, RFC 5297): it repeats only where the whole wire form does, also when another zstd packs the same
 * content otherwise under the same key.
 */
function encrypt(packed: Buffer, { encryption, nonce: nonceKey }: ChunkKeys): Buffer {
  const nonce = createHmac('sha256', nonceKey).update(packed).digest().subarray(0, NONCE_BYTES);
  const cipher = createCipheriv('aes-256-gcm', encryption, nonce);
  return Buffer.concat([nonce, cipher.update(packed), cipher.final(), cipher.getAuthTag()]);
}

/** @throws HASH_MISMATCH */
function decrypt(wire: Buffer, { encryption }: ChunkKeys, chunk: ChunkRef): Buffer {
  if (wire.length < SEAL_BYTES) throw mismatch(chunk);
  const end = wire.length - TAG_BYTES;
  try {
    const decipher = createDecipheriv('aes-256-gcm', encryption, wire.subarray(0, NONCE_BYTES), { authTagLength: TAG_BYTES });
    decipher.setAuthTag(wire.subarray(end));
    return Buffer.concat([decipher.update(wire.subarray(NONCE_BYTES, end)), decipher.final()]);
  } catch (cause) {
    throw mismatch(chunk, cause);
  }
}

function keyAbsent(chunk?: string): WardcastError {
  return new WardcastError('CONTENT_KEY_ABSENT', 'The content key of an encrypted release is not here', {
    remedy: 'The device asks its provider for it as soon as the line is up; see that the device is registered in this group and not revoked.',
    ...(chunk === undefined ? {} : { context: { chunk } }),
  });
}

function mismatch({ hash, plain }: ChunkRef, cause?: unknown): WardcastError {
  return new WardcastError('HASH_MISMATCH', 'A chunk’s wire form does not hold the content that the manifest names', {
    ...(cause === undefined ? {} : { cause }),
    remedy: 'If every source gives the same, the release was signed wrongly: sign it anew.',
    context: { chunk: hash, ...(plain === undefined ? {} : { plain }) },
  });
}
