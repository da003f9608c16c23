import { createHash } from 'node:crypto';
import type { FileHandle } from 'node:fs/promises';
import { sha256 } from '../../shared/bundle/digest.ts';
import type { FileEntry } from '../../shared/bundle/manifest.ts';

/** One place of a chunk in a tree. */
export interface Piece {
  readonly file: FileEntry;
  readonly hash: string;
  readonly size: number;
  readonly offset: number;
}

export function piecesOf(file: FileEntry): Piece[] {
  let offset = 0;
  return file.chunks.map(({ hash, size }) => {
    const piece = { file, hash, size, offset };
    offset += size;
    return piece;
  });
}

/** The piece's bytes; undefined when the file does not hold them there. */
export async function readIntact(handle: FileHandle, { hash, size, offset }: Piece): Promise<Buffer | undefined> {
  const bytes = Buffer.allocUnsafe(size);
  for (let filled = 0; filled < size; ) {
    const { bytesRead } = await handle.read(bytes, filled, size - filled, offset + filled);
    if (bytesRead === 0) return undefined;
    filled += bytesRead;
  }
  return sha256(bytes) === hash ? bytes : undefined;
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
