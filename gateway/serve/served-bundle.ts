import { isWardcastError } from '../../shared/base/errors.ts';
import type { Log } from '../../shared/base/log.ts';
import type { ServedBundle } from '../../shared/net/chunk-server.ts';
import type { ChunkStore } from '../../shared/store/chunk-source.ts';
import type { ServedViews } from '../relay/views.ts';

/** Pulls a chunk that is not here, or proved corrupt; false when the line is down or it did not come in time. */
export type Repair = (group: string, hash: string, size: number) => Promise<boolean>;

/**
 * One group's bundle as devices may fetch it: the complete view, and behind it the one before, for devices in the middle of it.
 * Whether the asker may have it is the policy's question, asked at the doors.
 */
export function servedBundle(views: ServedViews, store: ChunkStore, repair: Repair, log: Log): ServedBundle {
  const { current, previous } = views;
  const sizeOf = (hash: string): number | undefined => current.chunks.get(hash) ?? previous?.chunks.get(hash);
  const awaited = (hash: string): boolean =>
    [current, previous].some((view) => view !== undefined && [...view.patched].some((release) => view.manifests.get(release)?.hashes.includes(hash) === true));
  const read = async (hash: string): Promise<Buffer | undefined> => {
    try {
      return await store.get(hash);
    } catch (error) {
      if (isWardcastError(error, 'OBJECT_ABSENT') || isWardcastError(error, 'HASH_MISMATCH')) return undefined;
      throw error;
    }
  };
  return {
    scope: current.scope,
    has: (hash) => sizeOf(hash) !== undefined,
    metadata: async (name) => current.metadata.get(name) ?? previous?.metadata.get(name),
    target: async (hash) => current.targets.get(hash) ?? previous?.targets.get(hash),
    manifest: (hash) => current.manifests.get(hash) ?? previous?.manifests.get(hash),
    chunk: async (hash) => {
      const size = sizeOf(hash);
      if (size === undefined) return undefined;
      const bytes = await read(hash);
      if (bytes !== undefined) return bytes;
      // Never fetched, since patches were: a device needs it after all.
      if (!awaited(hash)) log.error('serve.chunk-lost', { group: current.scope.group, hash, remedy: 'It is pulled again. If this repeats, check the disk.' });
      return (await repair(current.scope.group, hash, size)) ? read(hash) : undefined;
    },
  };
}
