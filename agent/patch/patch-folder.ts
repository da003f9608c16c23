import { rm } from 'node:fs/promises';
import { freemem } from 'node:os';
import { join } from 'node:path';
import { isWardcastError, WardcastError } from '../../shared/base/errors.ts';
import { PATCH_MEMORY } from '../../shared/base/limits.ts';
import { plainHash } from '../../shared/bundle/chunk-form.ts';
import type { Manifest } from '../../shared/bundle/manifest.ts';
import { chunkSizes } from '../../shared/bundle/manifest.ts';
import type { ChunkFetcher } from '../../shared/store/chunk-fetcher.ts';
import { chunksByHash } from '../fetch/decoded.ts';
import { OwnReleases } from '../fetch/own-releases.ts';
import type { InstalledTree } from '../handlers/directory.ts';
import { namesIn, realDisk } from '../handlers/disk.ts';
import type { StagedChunks } from '../handlers/install-handler.ts';
import { buildTree, type TreeJob } from '../handlers/staging.ts';
import { expandPatch } from './expand.ts';
import type { Patch } from './patch-first.ts';

export interface PatchJob {
  /** The patch's own manifest, and its hash. */
  readonly patchHash: string;
  readonly patch: Manifest;
  /** What it is applied to, and makes. */
  readonly old: InstalledTree;
  readonly next: Manifest;
  /** Brings the patch's content. */
  readonly chunks: ChunkFetcher;
  /** Peers may have what stands here of the patch, until the returned function is called. */
  readonly share: (tree: StagedChunks) => () => void;
}

/**
 * Where patches are gathered, one folder each, by the same verified and durable staging as releases: a device that dies meanwhile goes on with what it has,
 * and others are served from it.
 */
export class PatchFolder {
  readonly #directory: string;
  readonly #freeMemory: () => number;
  readonly #inUse = new Set<string>();
  /** What ends the sharing of each patch that stands here. */
  readonly #shared = new Map<string, () => void>();

  /** @param o.freeMemory bytes that could be used now */
  constructor(o: { directory: string; freeMemory?: () => number }) {
    this.#directory = o.directory;
    this.#freeMemory = o.freeMemory ?? freemem;
  }

  /** Its folder stays until `tidy`, for others to be served. */
  patch({ patchHash, patch, old, next, chunks, share }: PatchJob): Patch {
    const directory = join(this.#directory, patchHash);
    const size = [...chunkSizes(patch).values()].reduce((sum, bytes) => sum + bytes, 0);
    return {
      size,
      expand: async (wanted, give, { signal }) => {
        const free = this.#freeMemory();
        if (free < PATCH_MEMORY)
          throw new WardcastError(
            'BUSY',
            `${Math.floor(free / 2 ** 20)} MiB of memory are free, less than the ${PATCH_MEMORY / 2 ** 20} for expanding a patch`,
          );
        this.#inUse.add(patchHash);
        try {
          await this.tidy();
          await this.#gather(patchHash, { disk: realDisk, directory, manifest: patch, chunks, signal }, share);
          const [file] = patch.files;
          await expandPatch(
            {
              patch: join(directory, file?.path ?? ''),
              directory: old.directory,
              old: old.manifest.files.map(({ path, size: bytes, sha256 }) => ({ path, size: bytes, sha256 })),
              files: next.files.map(({ size: bytes, sha256, chunks: pieces }) => ({ size: bytes, sha256, chunks: pieces })),
              wanted: [...wanted.keys()],
            },
            give,
            signal,
          );
        } finally {
          this.#inUse.delete(patchHash);
        }
      },
    };
  }

  /** Removes what earlier installations left. */
  async tidy(): Promise<void> {
    for (const name of await namesIn(realDisk, this.#directory)) {
      if (this.#inUse.has(name)) continue;
      this.#shared.get(name)?.();
      this.#shared.delete(name);
      await rm(join(this.#directory, name), { recursive: true, force: true });
    }
  }

  async #gather(patchHash: string, job: TreeJob, share: PatchJob['share']): Promise<void> {
    let unshare = (): void => undefined;
    const onStaged = (tree: StagedChunks): void => {
      unshare = share(tree);
    };
    try {
      await buildTree({ ...job, onStaged });
    } finally {
      unshare();
    }
    this.#shared.get(patchHash)?.();
    this.#shared.set(patchHash, share(standing({ manifestHash: patchHash, manifest: job.manifest, directory: job.directory })));
  }
}

/** The chunks of a patch that is complete. */
function standing(tree: InstalledTree): StagedChunks {
  const own = new OwnReleases([tree]);
  const refs = chunksByHash(tree.manifest);
  const plainOf = (hash: string): string | undefined => {
    const ref = refs.get(hash);
    return ref === undefined ? undefined : plainHash(ref);
  };
  return {
    has: (hash) => {
      const plain = plainOf(hash);
      return plain !== undefined && own.holds(plain);
    },
    read: async (hash) => {
      const plain = plainOf(hash);
      if (plain === undefined) return undefined;
      try {
        return await own.get(plain);
      } catch (error) {
        // Damaged or removed meanwhile: whoever asked has other sources.
        if (!isWardcastError(error)) throw error;
        return undefined;
      }
    },
  };
}
