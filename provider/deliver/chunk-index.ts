import { MAX_INDEXED_MANIFESTS } from '../../shared/base/limits.ts';
import { chunkSizes, parseManifest } from '../../shared/bundle/manifest.ts';
import type { ChunkSource } from '../../shared/store/chunk-source.ts';

/** What is asked of a manifest again and again, without its files. */
export interface IndexedManifest {
  readonly application: string;
  readonly version: string;
  /** Bytes, and number of files and links. */
  readonly size: number;
  readonly entries: number;
  /** Chunk hash → size. */
  readonly chunks: ReadonlyMap<string, number>;
  /** Ids of its content keys; none: it is not encrypted. */
  readonly contentKeys: readonly string[];
}

/** The manifests in use, each parsed once: a large one takes seconds. */
export class ChunkIndex {
  readonly #manifests: ChunkSource;
  readonly #indexed = new Map<string, Promise<IndexedManifest>>();

  constructor(manifests: ChunkSource) {
    this.#manifests = manifests;
  }

  /** @throws OBJECT_ABSENT, MANIFEST_INVALID, PATH_*, LIMIT_EXCEEDED */
  async get(manifest: string): Promise<IndexedManifest> {
    const known = this.#indexed.get(manifest) ?? this.#read(manifest);
    this.#indexed.delete(manifest);
    this.#indexed.set(manifest, known);
    if (this.#indexed.size > MAX_INDEXED_MANIFESTS) {
      const oldest = this.#indexed.keys().next().value;
      if (oldest !== undefined) this.#indexed.delete(oldest);
    }
    try {
      return await known;
    } catch (error) {
      this.#indexed.delete(manifest);
      throw error;
    }
  }

  /** Chunk hash → size. @throws as get() */
  async chunks(manifest: string): Promise<ReadonlyMap<string, number>> {
    return (await this.get(manifest)).chunks;
  }

  async #read(hash: string): Promise<IndexedManifest> {
    const manifest = parseManifest(await this.#manifests.get(hash));
    const { application, version, size, files, links, encryption } = manifest;
    return { application, version, size, entries: files.length + links.length, chunks: chunkSizes(manifest), contentKeys: encryption?.keys ?? [] };
  }
}
