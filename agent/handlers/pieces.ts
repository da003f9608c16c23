import { createHash } from 'node:crypto';
import type { FileHandle } from 'node:fs/promises';
import { plainHash, wireSize } from '../../shared/bundle/chunk-form.ts';
import { sha256 } from '../../shared/bundle/digest.ts';
import type { FileEntry } from '../../shared/bundle/manifest.ts';

/** One place of a chunk in a tree. */
export interface Piece {
  readonly file: FileEntry;
  /** Of its wire form, by which it is asked for, and the bytes of that. */
  readonly hash: string;
  readonly wire: number;
  /** sha256 of its content. */
  readonly plain: string;
  /** Bytes of content. */
  readonly size: number;
  readonly offset: number;
}

export function piecesOf(file: FileEntry): Piece[] {
  let offset = 0;
  return file.chunks.map((chunk) => {
    const piece = { file, hash: chunk.hash, wire: wireSize(chunk), plain: plainHash(chunk), size: chunk.size, offset };
    offset += chunk.size;
    return piece;
  });
}

/** The piece's bytes; undefined when the file does not hold them there. */
export async function readIntact(handle: FileHandle, { plain, size, offset }: Piece): Promise<Buffer | undefined> {
  const bytes = Buffer.allocUnsafe(size);
  for (let filled = 0; filled < size; ) {
    const { bytesRead } = await handle.read(bytes, filled, size - filled, offset + filled);
    if (bytesRead === 0) return undefined;
    filled += bytesRead;
  }
  return sha256(bytes) === plain ? bytes : undefined;
}

export async function writePiece(handle: FileHandle, { offset }: Piece, bytes: Buffer): Promise<void> {
  for (let written = 0; written < bytes.length; ) {
    written += (await handle.write(bytes, written, bytes.length - written, offset + written)).bytesWritten;
  }
}

/** SHA-256 of all that a file holds. */
export async function wholeHash(handle: FileHandle): Promise<string> {
  const hash = createHash('sha256');
  const buffer = Buffer.allocUnsafe(256 * 1024);
  for (let position = 0; ; ) {
    const { bytesRead } = await handle.read(buffer, 0, buffer.length, position);
    if (bytesRead === 0) return hash.digest('hex');
    hash.update(buffer.subarray(0, bytesRead));
    position += bytesRead;
  }
}
