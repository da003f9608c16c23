import { constants } from 'node:fs';
import { open } from 'node:fs/promises';
import { join } from 'node:path';
import { systemCode, WardcastError } from '../../shared/base/errors.ts';
import { plainHash } from '../../shared/bundle/chunk-form.ts';
import { sha256 } from '../../shared/bundle/digest.ts';
import type { CallOptions, ChunkSource } from '../../shared/store/chunk-source.ts';
import type { InstalledTree } from '../handlers/directory.ts';

interface Place {
  readonly file: string;
  readonly offset: number;
  readonly size: number;
}

/** Content read out of the files of releases that stand on the device, by its own sha256. What a file really holds is proven at every read. */
export class OwnReleases implements ChunkSource {
  readonly #places = new Map<string, Place>();

  /** @param only index no other hashes than these; all when absent */
  constructor(trees: Iterable<InstalledTree>, only?: ReadonlySet<string> | ReadonlyMap<string, unknown>) {
    for (const { manifest, directory } of trees) {
      for (const { path, chunks } of manifest.files) {
        let offset = 0;
        for (const chunk of chunks) {
          const { size } = chunk;
          const plain = plainHash(chunk);
          if (only === undefined || only.has(plain)) this.#places.set(plain, { file: join(directory, path), offset, size });
          offset += size;
        }
      }
    }
  }

  /** As far as is known without reading it. */
  holds(hash: string): boolean {
    return this.#places.has(hash);
  }

  has(hash: string): Promise<boolean> {
    return Promise.resolve(this.holds(hash));
  }

  async get(hash: string, { signal }: CallOptions = {}): Promise<Buffer> {
    signal?.throwIfAborted();
    const place = this.#places.get(hash);
    if (place === undefined) throw absent(hash);
    const bytes = await read(place, hash);
    if (bytes === undefined || sha256(bytes) !== hash) {
      // Damaged or changed by somebody: it costs a fetch, once.
      this.#places.delete(hash);
      throw new WardcastError('HASH_MISMATCH', `${place.file} no longer holds the chunk its manifest names`, { context: { chunk: hash } });
    }
    return bytes;
  }
}

async function read({ file, offset, size }: Place, hash: string): Promise<Buffer | undefined> {
  try {
    await using handle = await open(file, constants.O_RDONLY | constants.O_NOFOLLOW);
    const bytes = Buffer.allocUnsafe(size);
    for (let filled = 0; filled < size; ) {
      const { bytesRead } = await handle.read(bytes, filled, size - filled, offset + filled);
      if (bytesRead === 0) return undefined;
      filled += bytesRead;
    }
    return bytes;
  } catch (error) {
    if (systemCode(error) === undefined) throw error;
    throw new WardcastError('OBJECT_ABSENT', `${file} cannot be read`, { cause: error, context: { chunk: hash } });
  }
}

function absent(hash: string): WardcastError {
  return new WardcastError('OBJECT_ABSENT', 'No release on this device holds the chunk', { context: { chunk: hash } });
}
