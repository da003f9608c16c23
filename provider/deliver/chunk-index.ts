import { MAX_INDEXED_MANIFESTS } from '../../shared/base/limits.ts';
import { chunkSizes, parseManifest } from '../../shared/bundle/manifest.ts';
import type { ChunkSource } from '../../shared/store/chunk-source.ts';

/** Which chunks a manifest names, for the manifests in use. */
export class ChunkIndex {
  readonly #manifests: ChunkSource;
  readonly #sets = new Map<string, Promise<ReadonlyMap<string, number>>>();

  constructor(manifests: ChunkSource) {
    this.#manifests = manifests;
  }

  /** Chunk hash → size. @throws OBJECT_ABSENT */
  async chunks(manifest: string): Promise<ReadonlyMap<string, number>> {
    const known = this.#sets.get(manifest) ?? this.#read(manifest);
    this.#sets.delete(manifest);
    this.#sets.set(manifest, known);
    if (this.#sets.size > MAX_INDEXED_MANIFESTS) {
      const oldest = this.#sets.keys().next().value;
      if (oldest !== undefined) this.#sets.delete(oldest);
    }
    try {
      return await known;
    } catch (error) {
      this.#sets.delete(manifest);
      throw error;
    }
  }

  async #read(manifest: string): Promise<ReadonlyMap<string, number>> {
    return chunkSizes(parseManifest(await this.#manifests.get(manifest)));
  }
}
