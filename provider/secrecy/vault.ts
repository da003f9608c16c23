import { readFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { Turns } from '../../shared/base/each.ts';
import { systemCode, WardcastError } from '../../shared/base/errors.ts';
import { type Scope, scopePath } from '../../shared/base/identity.ts';
import type { GroupKeyRef } from '../../shared/bundle/bundle.ts';
import { CONTENT_KEY_BYTES, contentKeyId } from '../../shared/bundle/content-key.ts';
import { GROUP_KEY_BYTES, groupKeyCommitment, newGroupKey } from '../../shared/bundle/group-key.ts';
import { makeDirectory, writeDurably } from '../../shared/store/durable-file.ts';
import { storageFailed } from '../../shared/store/storage-failed.ts';

/**
 * The provider's secrets of content: content keys as publishers handed them over, and the groups' keys by epoch. One file each, for the owner's eyes alone;
 * no part of registry, log or chunks, so that these can be copied, listed and rebuilt without them, and must be backed up beside them.
 */
export class KeyVault {
  readonly #directory: string;
  readonly #making = new Turns(1);

  private constructor(directory: string) {
    this.#directory = directory;
  }

  /** @throws STORAGE_FAILED */
  static async open(directory: string): Promise<KeyVault> {
    await makeDirectory(directory, 0o700);
    return new KeyVault(directory);
  }

  /**
   * Keeps the keys that a release names; resolves when they are durable.
   * @param handed keys, of which those that the release does not name are ignored
   * @throws CONTENT_KEY_ABSENT when one was neither handed over now nor before; STORAGE_FAILED
   */
  async keepContentKeys(ids: readonly string[], handed: readonly Buffer[]): Promise<void> {
    const byId = new Map(handed.map((key) => [contentKeyId(key), key]));
    for (const id of ids) {
      if ((await this.#readContentKey(id)) !== undefined) continue;
      const key = byId.get(id);
      if (key === undefined) throw contentKeyAbsent(id);
      await this.#write(this.#contentFile(id), key);
    }
  }

  /** @throws CONTENT_KEY_ABSENT, STORAGE_FAILED */
  async contentKey(id: string): Promise<Buffer> {
    const key = await this.#readContentKey(id);
    if (key === undefined) throw contentKeyAbsent(id);
    return key;
  }

  /** The key of a group in an epoch; undefined: there is none. @throws STORAGE_FAILED */
  async groupKey(scope: Scope, epoch: number): Promise<Buffer | undefined> {
    return this.#read(this.#groupFile(scope, epoch), GROUP_KEY_BYTES);
  }

  /** The same, made and durable if there was none. @throws STORAGE_FAILED */
  async makeGroupKey(scope: Scope, epoch: number): Promise<GroupKeyRef> {
    const key = await this.#making.run(async () => {
      const known = await this.groupKey(scope, epoch);
      if (known !== undefined) return known;
      const made = newGroupKey();
      await this.#write(this.#groupFile(scope, epoch), made);
      return made;
    });
    return { epoch, commitment: groupKeyCommitment(key) };
  }

  #contentFile(id: string): string {
    return join(this.#directory, 'content', id.slice(0, 2), id);
  }

  #groupFile(scope: Scope, epoch: number): string {
    return join(this.#directory, 'group', scopePath(scope), String(epoch));
  }

  /** What does not have the id of its name is none: damaged, and to be handed over anew. */
  async #readContentKey(id: string): Promise<Buffer | undefined> {
    const key = await this.#read(this.#contentFile(id), CONTENT_KEY_BYTES);
    return key !== undefined && contentKeyId(key) === id ? key : undefined;
  }

  async #read(file: string, bytes: number): Promise<Buffer | undefined> {
    try {
      const key = await readFile(file);
      return key.length === bytes ? key : undefined;
    } catch (error) {
      if (systemCode(error) === 'ENOENT') return undefined;
      throw storageFailed(error, 'Cannot read a key', file);
    }
  }

  async #write(file: string, key: Buffer): Promise<void> {
    await makeDirectory(dirname(file), 0o700);
    await writeDurably(file, key, 0o600);
  }
}

function contentKeyAbsent(id: string): WardcastError {
  return new WardcastError('CONTENT_KEY_ABSENT', `The content key ${id} of an encrypted release is not at the provider`, {
    remedy: 'Publish the release once more, from the workspace it was signed in: `wardcast release publish` hands its keys over.',
    context: { key: id },
  });
}
