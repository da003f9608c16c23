import { type Scope, scopePath } from '../../shared/base/identity.ts';
import { MAX_CACHED_REPOSITORIES } from '../../shared/base/limits.ts';
import type { GroupVersions } from '../../shared/trust/repository.ts';
import type { Note, NoteWrite, Registry } from '../registry/registry.ts';

/** A group's signed repository as it lies in the registry's notes; content is in blobs by sha256. */
export interface StoredRepository extends Scope {
  /** Sequence of the newest bundle. */
  readonly sequence: number;
  readonly versions: GroupVersions;
  /** Milliseconds since 1970 at which the first of the signed roles expires, by role. */
  readonly expires: { readonly assignment: number; readonly snapshot: number; readonly timestamp: number };
  /** Newest first. The one before stays, so that a pull under way when a new bundle comes is not cut off. */
  readonly generations: readonly Generation[];
}
export interface Generation {
  readonly sequence: number;
  /** sha256 of the bundle. */
  readonly bundle: string;
  /** Metadata file name → sha256. */
  readonly files: Readonly<Record<string, string>>;
  /** sha256 of the manifest of every release. */
  readonly manifests: readonly string[];
  /** sha256 of the manifest of every patch; absent: none. */
  readonly patches?: readonly string[];
  /** Of the group key that its content keys are wrapped under; absent: nothing in it is encrypted. */
  readonly epoch?: number;
}

export function repositoryNote(scope: Scope): Note<StoredRepository> {
  return { text: `repository/${scopePath(scope)}` };
}
/** The group's parts, or those of a site, or all. */
export function repositoryNotes(customer?: string, site?: string): Note<StoredRepository> {
  return { text: `repository/${customer === undefined ? '' : `${customer}/`}${customer === undefined || site === undefined ? '' : `${site}/`}` };
}

/** The groups' repositories, with those in use kept in memory. */
export class Repositories {
  readonly #registry: Registry;
  readonly #cache = new Map<string, StoredRepository>();

  constructor(registry: Registry) {
    this.#registry = registry;
  }

  async get(scope: Scope): Promise<StoredRepository | undefined> {
    const name = scopePath(scope);
    const cached = this.#cache.get(name);
    if (cached !== undefined) return cached;
    const stored = await this.#registry.note(repositoryNote(scope));
    // Written meanwhile? Then what was read is old.
    if (stored !== undefined && !this.#cache.has(name)) this.#remember(name, stored);
    return this.#cache.get(name) ?? stored;
  }

  list(customer?: string, site?: string): AsyncIterable<StoredRepository> {
    return this.#registry.notes(repositoryNotes(customer, site));
  }

  async content(sha256: string): Promise<Buffer | undefined> {
    return this.#registry.blob(sha256);
  }

  /** Call when `write` of it is durable. */
  published(repository: StoredRepository): void {
    this.#remember(scopePath(repository), repository);
  }

  write(repository: StoredRepository): NoteWrite {
    return { key: repositoryNote(repository), value: repository };
  }

  #remember(name: string, repository: StoredRepository): void {
    this.#cache.delete(name);
    this.#cache.set(name, repository);
    if (this.#cache.size <= MAX_CACHED_REPOSITORIES) return;
    const oldest = this.#cache.keys().next().value;
    if (oldest !== undefined) this.#cache.delete(oldest);
  }
}
