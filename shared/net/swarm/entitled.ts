import type { Identity } from '../../base/identity.ts';
import { mayFetch, mayFetchScope } from '../../wire/policy.ts';
import type { ServedBundle } from '../chunk-server.ts';

/** The chunks of one manifest as somebody may have them, in their order. */
export interface EntitledChunks {
  /** Bytes of each. */
  readonly sizes: readonly number[];
  readonly hashes: readonly string[];
  /** Verified; undefined: not here, or not allowed. */
  read(index: number): Promise<Buffer | undefined>;
}

/** What the swarm's doors give out, gateway's and devices' alike: asks the policy for the bundle and once more for each chunk. */
export function entitledChunks(identity: Identity, bundle: ServedBundle | undefined, manifest: string): EntitledChunks | undefined {
  if (bundle === undefined || !mayFetchScope(identity, bundle.scope)) return undefined;
  const list = bundle.manifest(manifest);
  if (list === undefined) return undefined;
  return {
    ...list,
    read: async (index) => {
      const hash = list.hashes[index];
      return hash !== undefined && mayFetch(identity, bundle, hash) ? bundle.chunk(hash) : undefined;
    },
  };
}
