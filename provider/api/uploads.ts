import { WardcastError } from '../../shared/base/errors.ts';
import { MAX_EXPECTED_UPLOADS } from '../../shared/base/limits.ts';
import type { ChunkStore } from '../../shared/store/chunk-source.ts';

interface Expected {
  readonly store: ChunkStore;
  /** Bytes it must have; undefined: any. */
  readonly size: number | undefined;
}

/** Takes the objects that an offered release still lacks, and no others: the stores are no place to leave things. */
export class Uploads {
  readonly #expected = new Map<string, Expected>();

  expect(hash: string, store: ChunkStore, size?: number): void {
    if (this.#expected.size >= MAX_EXPECTED_UPLOADS && !this.#expected.has(hash)) {
      throw new WardcastError('BUSY', `${this.#expected.size} objects are awaited already`, { remedy: 'Finish the other uploads first.' });
    }
    this.#expected.set(hash, { store, size });
  }

  /** Resolves when it is durable. Repeating it is harmless. @throws DENIED when nobody offered it, HASH_MISMATCH, STORAGE_FAILED */
  async take(hash: string, bytes: Buffer): Promise<void> {
    const expected = this.#expected.get(hash);
    if (expected === undefined) {
      throw new WardcastError('DENIED', `No release that was offered lacks ${hash}`, { remedy: 'Offer the release first, and upload what the answer names.' });
    }
    if (expected.size !== undefined && expected.size !== bytes.length) {
      throw new WardcastError('HASH_MISMATCH', `${hash} has ${bytes.length} bytes; the manifest says ${expected.size}`, { remedy: 'Sign the release anew.' });
    }
    await expected.store.put(hash, bytes);
    // Kept until the release is published: an upload whose acknowledgement was lost comes again.
  }

  done(hashes: Iterable<string>): void {
    for (const hash of hashes) this.#expected.delete(hash);
  }
}
