import { isWardcastError } from '../../shared/base/errors.ts';
import type { Identity, Scope } from '../../shared/base/identity.ts';
import type { Log } from '../../shared/base/log.ts';
import type { ObjectRef } from '../../shared/net/exchange/object-ref.ts';
import type { ChunkSource } from '../../shared/store/chunk-source.ts';
import { mayFetch, mayFetchScope } from '../../shared/wire/policy.ts';
import type { ChunkIndex } from './chunk-index.ts';
import type { Generation, Repositories, StoredRepository } from './repositories.ts';

export interface ServeParts {
  readonly repositories: Repositories;
  readonly index: ChunkIndex;
  readonly manifests: ChunkSource;
  readonly chunks: ChunkSource;
  readonly log: Log;
}

/** Answers object pulls; undefined for what is unknown and for what is not theirs: the answer never says which. */
export function objectReader(parts: ServeParts): (identity: Identity, ref: ObjectRef) => Promise<Buffer | undefined> {
  return async (identity, ref) => {
    if (identity.role !== 'gateway') return undefined;
    const scope: Scope = { customer: identity.customer, site: identity.site, group: ref.group };
    if (!mayFetchScope(identity, scope)) return undefined;
    const repository = await parts.repositories.get(scope);
    if (repository === undefined) return undefined;
    try {
      switch (ref.kind) {
        case 'metadata':
          return await metadata(parts, repository, ref.name);
        case 'target':
          return await target(parts, repository, ref.name);
        case 'chunk':
          return await chunk(parts, identity, repository, ref.name);
      }
    } catch (error) {
      if (!isWardcastError(error, 'OBJECT_ABSENT')) throw error;
      // It is in the bundle and not on the disk: that is ours to repair, not theirs.
      parts.log.error('object.lost', { ...scope, kind: ref.kind, name: ref.name, error });
      return undefined;
    }
  };
}

async function metadata({ repositories }: ServeParts, { generations }: StoredRepository, name: string): Promise<Buffer | undefined> {
  for (const { files } of generations) {
    const hash = Object.hasOwn(files, name) ? files[name] : undefined;
    if (hash !== undefined) return repositories.content(hash);
  }
  return undefined;
}

async function target({ repositories, manifests }: ServeParts, { generations }: StoredRepository, hash: string): Promise<Buffer | undefined> {
  if (generations.some((generation) => generation.bundle === hash)) return repositories.content(hash);
  return generations.some((generation) => manifestsOf(generation).includes(hash)) ? manifests.get(hash) : undefined;
}

async function chunk({ index, chunks }: ServeParts, identity: Identity, repository: StoredRepository, hash: string): Promise<Buffer | undefined> {
  for (const manifest of new Set(repository.generations.flatMap(manifestsOf))) {
    const known = await index.chunks(manifest);
    if (mayFetch(identity, { scope: repository, has: (name) => known.has(name) }, hash)) return chunks.get(hash);
  }
  return undefined;
}

/** Of releases and patches. */
function manifestsOf({ manifests, patches = [] }: Generation): readonly string[] {
  return [...manifests, ...patches];
}
