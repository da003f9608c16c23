import { each } from '../base/each.ts';
import { FETCH_CONCURRENCY } from '../base/limits.ts';
import type { CallOptions, ChunkSource } from './chunk-source.ts';

/** What a chunk came from: a release that stood on the device already, another device of the group, the gateway, or a patch that made it of an old release. */
export type ChunkOrigin = 'own' | 'peer' | 'gateway' | 'patch';

/** Takes a verified chunk, and resolves when it is written. What it throws ends the fetch. */
export type Deliver = (hash: string, bytes: Buffer, from: ChunkOrigin) => Promise<void>;

/** Brings many chunks, in whatever order suits the sources. */
export interface ChunkFetcher {
  /**
   * Delivers each wanted chunk exactly once, verified against its hash. Bounds what it has begun to deliver: who writes slowly is sent no more.
   * @param wanted hash → bytes
   * @throws what kept a chunk from coming (OBJECT_ABSENT, HASH_MISMATCH, CONNECTION_LOST …), what `deliver` threw, the reason of the signal
   */
  fetch(wanted: ReadonlyMap<string, number>, deliver: Deliver, options?: CallOptions): Promise<void>;
}

/** Asks one source chunk by chunk, FETCH_CONCURRENCY at once. Rejects with the first failure when all that was under way has ended. */
export function fetchOneByOne(source: ChunkSource, from: ChunkOrigin): ChunkFetcher {
  return {
    fetch: (wanted, deliver, { signal: outer } = {}) =>
      each(wanted.keys(), FETCH_CONCURRENCY, async (hash, signal) => await deliver(hash, await source.get(hash, { signal }), from), outer),
  };
}
