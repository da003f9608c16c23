import { isWardcastError } from '../../shared/base/errors.ts';
import type { Log } from '../../shared/base/log.ts';
import type { ChunkFetcher } from '../../shared/store/chunk-fetcher.ts';

/** What one fetcher cannot bring because nobody can be reached, the other is asked for: the swarm first, then the gateway's broker, whose port may be the only open one. */
export function withFallback(first: ChunkFetcher, second: ChunkFetcher, log: Log): ChunkFetcher {
  return {
    async fetch(wanted, deliver, options = {}) {
      const left = new Map(wanted);
      try {
        await first.fetch(
          wanted,
          async (hash, bytes, from) => {
            await deliver(hash, bytes, from);
            left.delete(hash);
          },
          options,
        );
      } catch (error) {
        options.signal?.throwIfAborted();
        if (!UNREACHABLE.some((code) => isWardcastError(error, code))) throw error;
        log.info('fetch.fallback', { chunks: left.size, error });
        await second.fetch(left, deliver, options);
      }
    },
  };
}

const UNREACHABLE = ['CONNECTION_FAILED', 'CONNECTION_LOST', 'PROTOCOL_VIOLATION', 'TLS_FAILED', 'TLS_EXPECTED', 'CERT_REFUSED_BY_PEER'] as const;
