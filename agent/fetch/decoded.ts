import type { ChunkCodec } from '../../shared/bundle/chunk-form.ts';
import type { ChunkRef, Manifest } from '../../shared/bundle/manifest.ts';
import type { ChunkFetcher } from '../../shared/store/chunk-fetcher.ts';

/** The chunks of a release by their hash. */
export function chunksByHash(manifest: Manifest): Map<string, ChunkRef> {
  const chunks = new Map<string, ChunkRef>();
  for (const file of manifest.files) for (const chunk of file.chunks) chunks.set(chunk.hash, chunk);
  return chunks;
}

/** Delivers the content of what a fetcher brings in wire form. @throws also CONTENT_KEY_ABSENT, HASH_MISMATCH: as ChunkCodec.decode */
export function decoded(fetcher: ChunkFetcher, chunks: ReadonlyMap<string, ChunkRef>, codec: ChunkCodec): ChunkFetcher {
  return {
    fetch: (wanted, deliver, options) =>
      fetcher.fetch(
        wanted,
        async (hash, wire, from) => {
          const chunk = chunks.get(hash);
          await deliver(hash, chunk === undefined ? wire : codec.decode(wire, chunk), from);
        },
        options,
      ),
  };
}
