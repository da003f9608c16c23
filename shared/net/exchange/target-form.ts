import { promisify } from 'node:util';
import { zstdCompress, zstdDecompressSync } from 'node:zlib';
import { WardcastError } from '../../base/errors.ts';

/**
 * Bundles and manifests travel compressed: zstd (RFC 8878) where that makes them smaller. Canonical JSON begins with `{` and a zstd frame with its magic
 * number, so what came says itself which of both it is; the signed hash is over what it was before.
 */
const MAGIC = Buffer.from([0x28, 0xb5, 0x2f, 0xfd]);
const compress = promisify(zstdCompress);

export async function packTarget(bytes: Buffer): Promise<Buffer> {
  const packed = await compress(bytes);
  return packed.length < bytes.length ? packed : bytes;
}

/** @throws LIMIT_EXCEEDED when it would be larger than `max`, or is no whole frame: a bomb ends there */
export function unpackTarget(bytes: Buffer, max: number): Buffer {
  if (!bytes.subarray(0, MAGIC.length).equals(MAGIC)) return bytes;
  try {
    return zstdDecompressSync(bytes, { maxOutputLength: max });
  } catch (cause) {
    throw new WardcastError('LIMIT_EXCEEDED', `A signed file came compressed and cannot be expanded to the at most ${max} bytes that it has`, { cause });
  }
}
