import { WardcastError } from '../../shared/base/errors.ts';
import type { CallOptions, ChunkSource } from '../../shared/store/chunk-source.ts';

export type SourceKind = 'own' | 'peer' | 'gateway';

export interface NamedSource {
  readonly kind: SourceKind;
  readonly source: ChunkSource;
}

/** Asks its sources in order until one delivers, and counts the bytes by the kind of source. */
export class Failover implements ChunkSource {
  readonly #sources: readonly NamedSource[];
  readonly #bytes: Record<SourceKind, number> = { own: 0, peer: 0, gateway: 0 };

  constructor(sources: readonly NamedSource[]) {
    this.#sources = sources;
  }

  bytes(): { own: number; peer: number; gateway: number } {
    return { ...this.#bytes };
  }

  async has(hash: string, options?: CallOptions): Promise<boolean> {
    for (const { source } of this.#sources) if (await source.has(hash, options)) return true;
    return false;
  }

  /** @throws what the last source said; HASH_MISMATCH before any other, since somebody then lied or lost bits */
  async get(hash: string, options: CallOptions = {}): Promise<Buffer> {
    let failure: unknown;
    for (const { kind, source } of this.#sources) {
      if (!(await source.has(hash, options))) continue;
      try {
        const bytes = await source.get(hash, options);
        this.#bytes[kind] += bytes.length;
        return bytes;
      } catch (error) {
        options.signal?.throwIfAborted();
        if (kind === 'own') continue;
        if (!(failure instanceof WardcastError && failure.code === 'HASH_MISMATCH')) failure = error;
      }
    }
    throw failure ?? new WardcastError('OBJECT_ABSENT', 'No source has the chunk', { context: { chunk: hash } });
  }
}
