import type { FetchOptions, MetadataSource } from '../../shared/trust/metadata-source.ts';

/** Asks the next source only when one cannot be reached; "there is none" is an answer. */
export class MetadataFailover implements MetadataSource {
  readonly #sources: readonly MetadataSource[];

  constructor(sources: readonly MetadataSource[]) {
    this.#sources = sources;
  }

  metadata(name: string, options: FetchOptions): Promise<Buffer | undefined> {
    return this.#first((source) => source.metadata(name, options), options.signal);
  }

  target(sha256: string, options: FetchOptions): Promise<Buffer | undefined> {
    return this.#first((source) => source.target(sha256, options), options.signal);
  }

  async #first(ask: (source: MetadataSource) => Promise<Buffer | undefined>, signal: AbortSignal | undefined): Promise<Buffer | undefined> {
    let failure: unknown;
    for (const source of this.#sources) {
      try {
        return await ask(source);
      } catch (error) {
        signal?.throwIfAborted();
        failure = error;
      }
    }
    throw failure;
  }
}
