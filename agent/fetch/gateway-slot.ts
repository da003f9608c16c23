import { WardcastError } from '../../shared/base/errors.ts';
import type { CallOptions, ChunkSource } from '../../shared/store/chunk-source.ts';

/** The gateway of the moment as a source: connections come and go, an installation goes on. */
export class GatewaySlot implements ChunkSource {
  #sources: readonly ChunkSource[] = [];

  /** In the order to be asked; none: not connected. */
  connect(sources: readonly ChunkSource[]): void {
    this.#sources = sources;
  }

  has(): Promise<boolean> {
    return Promise.resolve(true);
  }

  async get(hash: string, options: CallOptions = {}): Promise<Buffer> {
    let failure: unknown = new WardcastError('CONNECTION_LOST', 'No gateway is connected', { remedy: 'The installation goes on when the gateway is back.' });
    for (const source of this.#sources) {
      try {
        return await source.get(hash, options);
      } catch (error) {
        options.signal?.throwIfAborted();
        failure = error;
      }
    }
    throw failure;
  }
}
