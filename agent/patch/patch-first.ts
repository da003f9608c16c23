import { toWardcastError } from '../../shared/base/errors.ts';
import type { Log } from '../../shared/base/log.ts';
import type { ChunkFetcher, Deliver } from '../../shared/store/chunk-fetcher.ts';
import type { CallOptions } from '../../shared/store/chunk-source.ts';

/** A patch that may be had for one installation. */
export interface Patch {
  /** Bytes that have to be fetched for it. */
  readonly size: number;
  /**
   * Fetches and expands it; gives those of the wanted chunks that come out right, each once.
   * @throws whatever keeps it from being had or applied, and what `give` throws
   */
  expand(wanted: ReadonlyMap<string, number>, give: (hash: string, content: Buffer) => Promise<void>, options: CallOptions): Promise<void>;
}

/**
 * Makes what it can of the wanted chunks with a patch, then fetches the rest. Whatever is wrong with the patch or with the old release costs time alone:
 * what did not come out right is fetched.
 */
export function patchFirst(patch: Patch | undefined, rest: ChunkFetcher, log: Log): ChunkFetcher {
  return {
    async fetch(wanted, deliver, options = {}) {
      const left = new Map(wanted);
      if (patch !== undefined && patch.size < bytesOf(left)) await expand(patch, left, deliver, options, log);
      if (left.size > 0) await rest.fetch(left, deliver, options);
    },
  };
}

async function expand(patch: Patch, left: Map<string, number>, deliver: Deliver, options: CallOptions, log: Log): Promise<void> {
  const before = { chunks: left.size, bytes: bytesOf(left) };
  let refused: unknown;
  const give = async (hash: string, content: Buffer): Promise<void> => {
    try {
      await deliver(hash, content, 'patch');
    } catch (error) {
      refused = error;
      throw error;
    }
    left.delete(hash);
  };
  try {
    await patch.expand(new Map(left), give, options);
    log.info('patch.expanded', { ...before, patch: patch.size, left: left.size });
  } catch (error) {
    options.signal?.throwIfAborted();
    // The disk is full, say: no other source changes that.
    if (refused !== undefined) throw refused;
    log.warn('patch.failed', { ...before, left: left.size, error: toWardcastError(error), remedy: 'Nothing is lost: what is missing is fetched whole.' });
  }
}

function bytesOf(chunks: ReadonlyMap<string, number>): number {
  let sum = 0;
  for (const size of chunks.values()) sum += size;
  return sum;
}
