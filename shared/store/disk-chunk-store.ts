import { readdir, readFile, rename, rm, stat } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { systemCode } from '../base/errors.ts';
import { MAX_QUARANTINED } from '../base/limits.ts';
import { type Log, silentLog } from '../base/log.ts';
import { isSha256 } from '../bundle/digest.ts';
import { absent, checkChunkName, checkContent } from './chunk-name.ts';
import type { CallOptions, ChunkStore } from './chunk-source.ts';
import { fsyncDirectory, makeDirectory, removeLeftovers, temporaryName, writeSynced } from './durable-file.ts';
import { readExactly } from './read-exactly.ts';
import { SharedSync } from './shared-sync.ts';
import { storageFailed } from './storage-failed.ts';

/**
 * Chunks as files `xx/<sha256>` below one directory, which belongs to one process at a time.
 * A chunk is there whole or not at all, also after a power cut; one that rots is moved to `quarantine/` and is absent from then on.
 */
export class DiskChunkStore implements ChunkStore {
  readonly #directory: string;
  readonly #log: Log;
  /** Sizes by hash: asking costs no disk access, and a full store of 32 GiB needs about 60 MB for it. */
  readonly #sizes = new Map<string, number>();
  readonly #puts = new Map<string, Promise<void>>();
  /** Files on their way out: a put of the same hash waits, or its fresh file would be taken along. */
  readonly #removals = new Map<string, Promise<void>>();
  readonly #syncs = new SharedSync(fsyncDirectory);
  readonly #shards = new Set<string>();
  #bytes = 0;

  private constructor(directory: string, log: Log) {
    this.#directory = directory;
    this.#log = log;
  }

  /** Removes what a crash left half-written and counts what is there. @throws STORAGE_FAILED */
  static async open(directory: string, { log = silentLog }: { log?: Log } = {}): Promise<DiskChunkStore> {
    const store = new DiskChunkStore(directory, log);
    await makeDirectory(directory);
    await store.#scan();
    return store;
  }

  /** Total bytes of all chunks. */
  get bytes(): number {
    return this.#bytes;
  }

  /** Number of chunks. */
  get count(): number {
    return this.#sizes.size;
  }

  async has(hash: string, { signal }: CallOptions = {}): Promise<boolean> {
    signal?.throwIfAborted();
    return this.#sizes.has(hash);
  }

  async get(hash: string, { signal }: CallOptions = {}): Promise<Buffer> {
    signal?.throwIfAborted();
    const size = this.#sizes.get(hash);
    if (size === undefined) throw absent(hash, 'This store');
    let bytes: Buffer;
    try {
      bytes = await readExactly(this.#path(hash), size);
    } catch (error) {
      signal?.throwIfAborted();
      if (systemCode(error) !== 'ENOENT') throw storageFailed(error, 'Cannot read', this.#path(hash));
      this.#forget(hash);
      throw absent(hash, 'This store');
    }
    try {
      checkContent(hash, bytes, 'the disk');
    } catch (error) {
      if (this.#sizes.has(hash)) await this.#remove(hash, () => this.#quarantine(hash, error));
      throw absent(hash, 'This store (the copy on its disk was corrupt)');
    }
    return bytes;
  }

  async put(hash: string, bytes: Buffer, { signal }: CallOptions = {}): Promise<void> {
    signal?.throwIfAborted();
    checkChunkName(hash);
    checkContent(hash, bytes, 'the caller');
    if (this.#sizes.has(hash)) return;
    let put = this.#puts.get(hash);
    if (put === undefined) {
      put = this.#write(hash, bytes, this.#removals.get(hash)).finally(() => this.#puts.delete(hash));
      this.#puts.set(hash, put);
    }
    await put;
  }

  async delete(hash: string, { signal }: CallOptions = {}): Promise<void> {
    signal?.throwIfAborted();
    await this.#puts.get(hash)?.catch(() => undefined);
    if (!this.#sizes.has(hash)) return;
    // Forgotten first: nobody is promised a chunk that is on its way out. A power cut may bring it back, whole; retention finds it again.
    this.#forget(hash);
    await this.#remove(hash, async () => {
      try {
        await rm(this.#path(hash), { force: true });
      } catch (error) {
        throw storageFailed(error, 'Cannot delete', this.#path(hash));
      }
    });
  }

  async *list({ signal }: CallOptions = {}): AsyncGenerator<{ hash: string; size: number }> {
    for (const [hash, size] of [...this.#sizes]) {
      signal?.throwIfAborted();
      yield { hash, size };
    }
  }

  #remove(hash: string, work: () => Promise<void>): Promise<void> {
    const removal = work().finally(() => this.#removals.delete(hash));
    this.#removals.set(hash, removal);
    return removal;
  }

  async #write(hash: string, bytes: Buffer, removal: Promise<void> | undefined): Promise<void> {
    await removal?.catch(() => undefined);
    const path = this.#path(hash);
    const temporary = temporaryName(path);
    try {
      await this.#makeShard(hash);
      await writeSynced(temporary, bytes);
      await rename(temporary, path);
      await this.#syncs.wait(this.#shard(hash));
    } catch (error) {
      await rm(temporary, { force: true }).catch(() => undefined);
      throw storageFailed(error, 'Cannot write', path);
    }
    this.#remember(hash, bytes.length);
  }

  async #makeShard(hash: string): Promise<void> {
    const shard = this.#shard(hash);
    if (this.#shards.has(shard)) return;
    await makeDirectory(shard);
    this.#shards.add(shard);
  }

  async #quarantine(hash: string, reason: unknown): Promise<void> {
    this.#forget(hash);
    const directory = join(this.#directory, 'quarantine');
    this.#log.error('store.corrupt', { hash, error: reason });
    try {
      await makeDirectory(directory);
      const kept = await readdir(directory);
      if (kept.length < MAX_QUARANTINED) await rename(this.#path(hash), join(directory, hash));
      else await rm(this.#path(hash), { force: true });
    } catch (error) {
      this.#log.error('store.quarantine-failed', { hash, error: storageFailed(error, 'Cannot move to quarantine', this.#path(hash)) });
    }
  }

  async #scan(): Promise<void> {
    try {
      for (const shard of await readdir(this.#directory)) {
        if (!/^[0-9a-f]{2}$/.test(shard)) continue;
        const directory = join(this.#directory, shard);
        const removed = await removeLeftovers(directory);
        if (removed > 0) this.#log.info('store.leftovers-removed', { directory, removed });
        const names = (await readdir(directory)).filter((name) => isSha256(name) && name.startsWith(shard));
        const sizes = await Promise.all(names.map(async (name) => (await stat(join(directory, name))).size));
        names.forEach((name, index) => {
          this.#remember(name, sizes[index] ?? 0);
        });
        // A crash between rename and fsync left names that a power cut now could still take away.
        if (names.length > 0) await fsyncDirectory(directory);
        this.#shards.add(directory);
      }
    } catch (error) {
      throw storageFailed(error, 'Cannot read the chunks in', this.#directory);
    }
  }

  #remember(hash: string, size: number): void {
    if (this.#sizes.has(hash)) return;
    this.#sizes.set(hash, size);
    this.#bytes += size;
  }

  #forget(hash: string): void {
    this.#bytes -= this.#sizes.get(hash) ?? 0;
    this.#sizes.delete(hash);
  }

  #shard(hash: string): string {
    return dirname(this.#path(hash));
  }

  #path(hash: string): string {
    return pathOf(this.#directory, hash);
  }
}

/**
 * Reads a chunk for a thread beside the store's owner; touches nothing, also when it is damaged.
 * @throws OBJECT_ABSENT, HASH_MISMATCH, STORAGE_FAILED
 */
export async function readStored(directory: string, hash: string): Promise<Buffer> {
  checkChunkName(hash);
  let bytes: Buffer;
  try {
    bytes = await readFile(pathOf(directory, hash));
  } catch (error) {
    if (systemCode(error) === 'ENOENT') throw absent(hash, 'This store');
    throw storageFailed(error, 'Cannot read', pathOf(directory, hash));
  }
  checkContent(hash, bytes, 'the disk');
  return bytes;
}

function pathOf(directory: string, hash: string): string {
  return join(directory, hash.slice(0, 2), hash);
}
