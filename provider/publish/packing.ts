import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { systemCode, WardcastError } from '../../shared/base/errors.ts';
import { MAX_CONTENT_KEYS, REUSED_RELEASES } from '../../shared/base/limits.ts';
import { packChunk, plainHash } from '../../shared/bundle/chunk-form.ts';
import { type ContentKeys, contentKeyId, newContentKey } from '../../shared/bundle/content-key.ts';
import { sha256 } from '../../shared/bundle/digest.ts';
import { type ChunkRef, type Manifest, parseManifest } from '../../shared/bundle/manifest.ts';
import { compareVersions } from '../../shared/bundle/version.ts';
import type { ChunkStore } from '../../shared/store/chunk-source.ts';
import { makeDirectory, writeDurably } from '../../shared/store/durable-file.ts';
import type { ReleaseTarget } from '../../shared/trust/sign.ts';
import type { PutQueue } from './put-queue.ts';

interface Known {
  readonly chunk: ChunkRef;
  /** The content key it is sealed under. */
  readonly keyId: string | undefined;
}

/**
 * Makes the wire forms of a release's chunks. What an earlier release of the application holds keeps its wire form, with the content key it is sealed under,
 * so that it crosses no line again; everything else is packed, and sealed under the release's own key.
 */
export class Packing {
  readonly #store: ChunkStore;
  readonly #puts: PutQueue;
  readonly #own: Buffer | undefined;
  /** Ids by index: the release's own first. */
  readonly #keys: string[];
  readonly #known: ReadonlyMap<string, Known>;

  private constructor(o: { store: ChunkStore; puts: PutQueue; own: Buffer | undefined; known: ReadonlyMap<string, Known> }) {
    this.#store = o.store;
    this.#puts = o.puts;
    this.#own = o.own;
    this.#keys = o.own === undefined ? [] : [contentKeyId(o.own)];
    this.#known = o.known;
  }

  /**
   * @param o.signed the application's releases
   * @throws STORAGE_FAILED; NOT_FOUND, KEY_UNUSABLE; HASH_MISMATCH and MANIFEST_* when a manifest in the workspace was damaged
   */
  static async begin(o: {
    workspace: string;
    store: ChunkStore;
    puts: PutQueue;
    encrypt: boolean;
    version: string;
    signed: readonly ReleaseTarget[];
  }): Promise<Packing> {
    const { workspace, version, signed } = o;
    const own = o.encrypt ? await ownKey(workspace, signed.find((release) => release.version === version)?.manifest) : undefined;
    const known = new Map<string, Known>();
    const earlier = signed.filter((one) => one.version !== version).sort((a, b) => compareVersions(a.version, b.version));
    for (const release of earlier.slice(-REUSED_RELEASES)) {
      const manifest = await readManifest(workspace, release.manifest);
      if (manifest === undefined || (manifest.encryption !== undefined) !== o.encrypt) continue;
      for (const file of manifest.files) {
        for (const chunk of file.chunks) {
          known.set(plainHash(chunk), { chunk, keyId: chunk.key === undefined ? undefined : manifest.encryption?.keys[chunk.key] });
        }
      }
    }
    return new Packing({ ...o, own, known });
  }

  /** Puts the chunk's wire form into the workspace. @returns how the manifest names it */
  async keep(content: Buffer): Promise<ChunkRef> {
    const known = this.#known.get(sha256(content));
    if (known !== undefined && (await this.#store.has(known.chunk.hash))) {
      const key = known.keyId === undefined ? undefined : this.#indexOf(known.keyId);
      if (known.keyId === undefined) return known.chunk;
      if (key !== undefined) return { ...known.chunk, key };
    }
    const { chunk, wire } = packChunk(content, this.#own === undefined ? undefined : { key: this.#own, index: 0 });
    await this.#puts.add(chunk.hash, wire);
    return chunk;
  }

  /** What the manifest says about it; undefined: nothing is encrypted. */
  get encryption(): Manifest['encryption'] {
    return this.#own === undefined ? undefined : { keys: [...this.#keys] };
  }

  /** Of a key of an earlier release; undefined: the manifest has no room for one more, or the key is not here to be handed on. */
  #indexOf(id: string): number | undefined {
    const at = this.#keys.indexOf(id);
    if (at >= 0) return at;
    if (this.#keys.length >= MAX_CONTENT_KEYS) return undefined;
    return this.#keys.push(id) - 1;
  }
}

/** The content keys that a release names, as the workspace holds them. @throws NOT_FOUND, KEY_UNUSABLE */
export async function contentKeysOf(workspace: string, manifest: Pick<Manifest, 'encryption'>): Promise<ContentKeys> {
  const keys = new Map<string, Buffer>();
  for (const id of manifest.encryption?.keys ?? []) {
    const file = keyFile(workspace, id);
    const key = await readFile(file).catch((cause: unknown) => {
      throw new WardcastError('NOT_FOUND', `The content key ${id} cannot be read: ${systemCode(cause) ?? String(cause)}`, {
        cause,
        remedy: `An encrypted release is published from the workspace it was signed in, with its folder content-keys.`,
      });
    });
    if (contentKeyId(key) !== id) throw new WardcastError('KEY_UNUSABLE', `${file} does not hold the content key of its name`);
    keys.set(id, key);
  }
  return keys;
}

/** That of the same version, where it was signed before: the same content must give the same release. */
async function ownKey(workspace: string, before: string | undefined): Promise<Buffer> {
  const manifest = before === undefined ? undefined : await readManifest(workspace, before);
  const [id = ''] = manifest?.encryption?.keys ?? [];
  const known = manifest === undefined ? undefined : (await contentKeysOf(workspace, manifest)).get(id);
  if (known !== undefined) return known;
  const own = newContentKey();
  // Before anything is sealed under it: without its key a release is lost.
  await keepContentKey(workspace, own);
  return own;
}

async function keepContentKey(workspace: string, key: Buffer): Promise<void> {
  await makeDirectory(join(workspace, 'content-keys'));
  await writeDurably(keyFile(workspace, contentKeyId(key)), key, 0o600);
}

function keyFile(workspace: string, id: string): string {
  return join(workspace, 'content-keys', id);
}

async function readManifest(workspace: string, hash: string): Promise<Manifest | undefined> {
  let bytes: Buffer;
  try {
    bytes = await readFile(join(workspace, 'manifests', `${hash}.json`));
  } catch (error) {
    // Signed elsewhere: its chunks are made anew.
    if (systemCode(error) === 'ENOENT') return undefined;
    throw error;
  }
  if (sha256(bytes) !== hash) throw new WardcastError('HASH_MISMATCH', `The manifest ${hash} in ${workspace} was altered after it was signed`);
  return parseManifest(bytes);
}
