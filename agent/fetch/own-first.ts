import { each } from '../../shared/base/each.ts';
import { OWN_READ_CONCURRENCY } from '../../shared/base/limits.ts';
import type { ChunkFetcher, Deliver } from '../../shared/store/chunk-fetcher.ts';
import type { CallOptions, ChunkSource } from '../../shared/store/chunk-source.ts';
import { type OriginBytes, Origins } from './origins.ts';

/**
 * Takes what old releases on the device hold and still prove, then fetches the rest in one go, and counts the bytes by where they came from. One after the
 * other, so that the swarm knows from its start what this device can pass on.
 */
export class OwnFirst implements ChunkFetcher {
  readonly #own: ChunkSource;
  readonly #rest: ChunkFetcher;
  readonly #plainOf: (hash: string) => string;
  readonly #origins: Origins;

  /**
   * @param own content of releases that stand on the device, by its own hash
   * @param rest who is asked for what they do not hold, and gives content
   * @param plainOf the hash of a chunk's content
   * @param origins what is counted into
   */
  constructor(own: ChunkSource, rest: ChunkFetcher, plainOf: (hash: string) => string = (hash) => hash, origins = new Origins()) {
    this.#own = own;
    this.#rest = rest;
    this.#plainOf = plainOf;
    this.#origins = origins;
  }

  bytes(): OriginBytes {
    return this.#origins.bytes();
  }

  async fetch(wanted: ReadonlyMap<string, number>, deliver: Deliver, options: CallOptions = {}): Promise<void> {
    const rest = new Map(wanted);
    const counted: Deliver = async (hash, bytes, from) => {
      // As they would have crossed the network, so that the sources add up to what was missing.
      this.#origins.add(from, wanted.get(hash) ?? bytes.length);
      await deliver(hash, bytes, from);
    };
    const take = async (hash: string, signal: AbortSignal): Promise<void> => {
      const bytes = await this.#take(hash, signal);
      if (bytes === undefined) return;
      rest.delete(hash);
      await counted(hash, bytes, 'own');
    };
    await each(wanted.keys(), OWN_READ_CONCURRENCY, take, options.signal);
    if (rest.size > 0) await this.#rest.fetch(rest, counted, options);
  }

  async #take(hash: string, signal: AbortSignal): Promise<Buffer | undefined> {
    const plain = this.#plainOf(hash);
    if (!(await this.#own.has(plain, { signal }))) return undefined;
    try {
      return await this.#own.get(plain, { signal });
    } catch {
      signal.throwIfAborted();
      // Damaged, changed or gone: it costs a fetch.
      return undefined;
    }
  }
}
