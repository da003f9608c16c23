import { constants, zstdCompressSync, zstdDecompressSync } from 'node:zlib';
import { MAX_PACKED_BYTES } from '../base/limits.ts';
import { invalid, type PatchReader } from './patch-reader.ts';
import { distinct, type NewFile, type OldTree, pairDigest, type Reader, type TreeFile } from './tree.ts';
import { writeVarint } from './varint.ts';

/**
 * The other form of a patch, for small releases: all new content in one zstd frame (RFC 8878) with all old content as its raw dictionary, as
 * `zstd --patch-from` does. It finds again what a build repeats in many of its files, which our own form does in part only.
 */
export const PACKED_MAGIC = Buffer.from([0x57, 0x43, 0x50, 0x02]);

const LEVEL = 19;
/** 2^25 bytes: old and new content of MAX_PACKED_BYTES are within reach. */
const WINDOW_LOG = 25;

/** The patch in this form; undefined: the releases are too large for it, or zstd takes the old content for a dictionary of its own kind. */
export async function makePacked(old: OldTree, files: readonly TreeFile[]): Promise<Buffer | undefined> {
  const total = files.reduce((sum, { size }) => sum + size, 0);
  if (old.size === 0 || old.size + total > MAX_PACKED_BYTES) return undefined;
  const dictionary = await contentOf(old.files);
  const content = await contentOf(distinct(files).flatMap((index) => files[index] ?? []));
  const params = {
    [constants.ZSTD_c_compressionLevel]: LEVEL,
    [constants.ZSTD_c_windowLog]: WINDOW_LOG,
    [constants.ZSTD_c_enableLongDistanceMatching]: 1,
  };
  let frame: Buffer;
  try {
    frame = zstdCompressSync(content, { params, dictionary });
  } catch {
    // Only the other form is left.
    return undefined;
  }
  return Buffer.concat([PACKED_MAGIC, pairDigest(old, files), writeVarint(files.length), writeVarint(total), writeVarint(frame.length), frame]);
}

/**
 * Gives the files out of what follows the head. Holds both releases.
 * @throws PATCH_INVALID when it is malformed or would give more or fewer bytes than the manifest says, and what readers and `write` throw
 */
export async function applyPacked(
  reader: PatchReader,
  old: OldTree,
  files: readonly NewFile[],
  write: (index: number, bytes: Uint8Array) => Promise<void> | void,
): Promise<void> {
  const places = distinct(files);
  const size = places.reduce((sum, index) => sum + (files[index]?.size ?? 0), 0);
  if (old.size + size > MAX_PACKED_BYTES) throw invalid('releases of this size have patches of the other form');
  const length = await reader.takeVarint();
  if (length > MAX_PACKED_BYTES) throw invalid('its frame is longer than both releases');
  const frame = await reader.take(length);
  await reader.end();
  const content = expand(frame, await contentOf(old.files), size);
  let at = 0;
  for (const index of places) {
    const bytes = files[index]?.size ?? 0;
    if (bytes > 0) await write(index, content.subarray(at, at + bytes));
    at += bytes;
  }
}

function expand(frame: Uint8Array, dictionary: Buffer, size: number): Buffer {
  let content: Buffer;
  try {
    content = zstdDecompressSync(frame, { dictionary, maxOutputLength: Math.max(1, size), params: { [constants.ZSTD_d_windowLogMax]: WINDOW_LOG } });
  } catch {
    throw invalid('its content cannot be expanded to what the release has');
  }
  if (content.length !== size) throw invalid('its content is not as long as the release');
  return content;
}

async function contentOf(files: readonly { readonly size: number; readonly reader: Reader }[]): Promise<Buffer> {
  const bytes = Buffer.allocUnsafeSlow(files.reduce((sum, { size }) => sum + size, 0));
  let at = 0;
  for (const { size, reader } of files) {
    if (size > 0) await reader.read(bytes.subarray(at, at + size), 0);
    at += size;
  }
  return bytes;
}
