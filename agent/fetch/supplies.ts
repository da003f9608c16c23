import type { Log } from '../../shared/base/log.ts';
import type { BundlePatch } from '../../shared/bundle/bundle.ts';
import { ChunkCodec, plainHash } from '../../shared/bundle/chunk-form.ts';
import type { ContentKeys } from '../../shared/bundle/content-key.ts';
import { chunkList, type Manifest } from '../../shared/bundle/manifest.ts';
import { type ChunkFetcher, fetchOneByOne } from '../../shared/store/chunk-fetcher.ts';
import type { ChunkSource } from '../../shared/store/chunk-source.ts';
import type { GroupView } from '../../shared/trust/client.ts';
import type { InstalledTree } from '../handlers/directory.ts';
import type { AcceptedRelease, StagedChunks } from '../handlers/install-handler.ts';
import type { Supply } from '../install/installer.ts';
import { type Patch, patchFirst } from '../patch/patch-first.ts';
import type { PatchFolder } from '../patch/patch-folder.ts';
import type { Swarm } from '../swarm/swarm.ts';
import { chunksByHash, decoded } from './decoded.ts';
import { Origins } from './origins.ts';
import { OwnFirst } from './own-first.ts';
import { OwnReleases } from './own-releases.ts';
import { withFallback } from './with-fallback.ts';

export interface SuppliesOptions {
  readonly swarm: Pick<Swarm, 'fetch'>;
  /** The gateway's broker and https, for what the swarm cannot bring. */
  readonly gateway: ChunkSource;
  /** Whole trees on the device. */
  readonly trees: () => Promise<readonly InstalledTree[]>;
  readonly view: () => GroupView | undefined;
  readonly contentKeys: (manifestHash: string) => ContentKeys;
  readonly patches: PatchFolder;
  /** What is being staged is passed on, until the returned function is called. */
  readonly share: (tree: StagedChunks) => () => void;
  /** A release was staged; `unstage` ends its passing on. */
  readonly staged: (unstage: () => void) => () => void;
  readonly log: Log;
}

/** Where the chunks of one installation come from, in this order: old releases on the device, a patch, the swarm, the gateway's other doors. */
export class Supplies {
  readonly #o: SuppliesOptions;

  constructor(options: SuppliesOptions) {
    this.#o = options;
  }

  /** @throws CONTENT_KEY_ABSENT before anything is fetched: without its keys nothing of it can be installed */
  async open({ manifestHash, manifest }: AcceptedRelease): Promise<Supply> {
    const { trees, contentKeys, share, staged, log } = this.#o;
    const keys = contentKeys(manifestHash);
    const codec = new ChunkCodec(manifest, keys);
    codec.requireKeys();
    const standing = await trees();
    const refs = chunksByHash(manifest);
    const plainOf = (hash: string): string => plainHash(refs.get(hash) ?? { hash, size: 0 });
    const origins = new Origins();
    const patch = this.#patch({ manifestHash, manifest, keys, standing, origins });
    const rest = patchFirst(patch, decoded(this.#others(manifestHash, manifest), refs, codec), log);
    const chunks = new OwnFirst(new OwnReleases(standing), rest, plainOf, origins);
    return { chunks, bytes: () => chunks.bytes(), staged: (tree) => staged(share(tree)) };
  }

  /** The swarm of one manifest, and when nobody of it can be reached the gateway alone. */
  #others(manifestHash: string, manifest: Manifest): ChunkFetcher {
    const { swarm, gateway, log } = this.#o;
    const list = chunkList(manifest);
    const together: ChunkFetcher = { fetch: (wanted, deliver, call) => swarm.fetch(manifestHash, list, wanted, deliver, call) };
    return withFallback(together, fetchOneByOne(gateway, 'gateway'), log);
  }

  /** The one whose old release stands here. */
  #patch(job: {
    readonly manifestHash: string;
    readonly manifest: Manifest;
    readonly keys: ContentKeys;
    readonly standing: readonly InstalledTree[];
    readonly origins: Origins;
  }): Patch | undefined {
    const { view, patches, share } = this.#o;
    const accepted = view();
    const named: readonly BundlePatch[] = accepted?.bundle.releases.find((release) => release.manifest === job.manifestHash)?.patches ?? [];
    for (const { from, manifest: patchHash } of named) {
      const old = job.standing.find((tree) => tree.manifestHash === from);
      const patch = accepted?.patches.get(patchHash);
      if (old === undefined || patch === undefined) continue;
      const chunks = decoded(this.#others(patchHash, patch), chunksByHash(patch), new ChunkCodec(patch, job.keys));
      return patches.patch({ patchHash, patch, old, next: job.manifest, chunks: counting(chunks, job.origins), share });
    }
    return undefined;
  }
}

/** Counts what the patch itself costs. */
function counting(chunks: ChunkFetcher, origins: Origins): ChunkFetcher {
  return {
    fetch: (wanted, deliver, options) =>
      chunks.fetch(
        wanted,
        async (hash, bytes, from) => {
          if (from === 'peer' || from === 'gateway') origins.addPatch(from, wanted.get(hash) ?? bytes.length);
          await deliver(hash, bytes, from);
        },
        options,
      ),
  };
}
