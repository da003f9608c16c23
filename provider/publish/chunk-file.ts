import { createHash } from 'node:crypto';
import { constants } from 'node:fs';
import { open } from 'node:fs/promises';
import { WardcastError } from '../../shared/base/errors.ts';
import { READ_SIZE } from '../../shared/base/limits.ts';
import { Chunker } from '../../shared/bundle/chunker.ts';
import type { ChunkRef, FileEntry } from '../../shared/bundle/manifest.ts';
import type { FoundFile } from './walk.ts';

export interface ChunkingOptions {
  /** Takes the content of every chunk and says how the manifest names it; holds the reading back while it has no room. */
  readonly keep: (content: Buffer) => Promise<ChunkRef>;
  readonly onBytes?: ((bytes: number) => void) | undefined;
  readonly signal?: AbortSignal | undefined;
}

/**
 * Reads a file once for its hash and its chunks. Memory stays at a few MiB whatever its size.
 * @throws CONFLICT when the file changes meanwhile, ABORTED, and what `keep` throws
 */
export async function chunkFile(found: FoundFile, options: ChunkingOptions): Promise<FileEntry> {
  const whole = createHash('sha256');
  const chunker = new Chunker();
  const chunks: ChunkRef[] = [];
  let size = 0;
  const keep = async (pieces: readonly Buffer[]): Promise<void> => {
    for (const piece of pieces) chunks.push(await options.keep(piece));
  };
  // Never through a symlink that took the file's place since the walk.
  const handle = await open(found.file, constants.O_RDONLY | constants.O_NOFOLLOW);
  try {
    // One byte more than expected, so that the end of a small file shows at once. A buffer of its own for every read: chunks are views of it.
    const length = Math.min(READ_SIZE, found.size + 1);
    for (;;) {
      options.signal?.throwIfAborted();
      const { bytesRead, buffer } = await handle.read(Buffer.allocUnsafeSlow(length), 0, length);
      const bytes = buffer.subarray(0, bytesRead);
      whole.update(bytes);
      size += bytesRead;
      options.onBytes?.(bytesRead);
      await keep(chunker.push(bytes));
      if (bytesRead === 0 || size > found.size) break;
    }
    await keep(chunker.end());
  } finally {
    await handle.close();
  }
  if (size !== found.size) {
    throw new WardcastError('CONFLICT', `${found.path} changed while it was read: ${found.size} bytes before, ${size} or more now`, {
      remedy: 'Sign a release from a tree that nobody writes to.',
    });
  }
  return { path: found.path, size, mode: found.mode, sha256: whole.digest('hex'), chunks };
}
