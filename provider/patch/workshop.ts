import { readdir, readFile, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { z } from 'zod';
import { Turns } from '../../shared/base/each.ts';
import { toWardcastError } from '../../shared/base/errors.ts';
import { MAX_PATCHED_BYTES, MAX_QUEUED_PATCHES, PATCH_WORTH } from '../../shared/base/limits.ts';
import type { Log } from '../../shared/base/log.ts';
import { sha256 } from '../../shared/bundle/digest.ts';
import { chunkSizes, type Manifest, parseManifest } from '../../shared/bundle/manifest.ts';
import type { ChunkStore } from '../../shared/store/chunk-source.ts';
import { makeDirectory, writeDurably } from '../../shared/store/durable-file.ts';
import { storageFailed } from '../../shared/store/storage-failed.ts';
import { Sha256 } from '../../shared/wire/messages.ts';
import type { KeyVault } from '../secrecy/vault.ts';
import { lackingBytes } from './choose.ts';
import { makePatchRelease } from './make.ts';

const Count = z.int().min(1);
/** A patch that lies with its chunks and its manifest in the stores. */
const Made = z.strictObject({ format: z.literal(1), from: Sha256, to: Sha256, manifest: Sha256, manifestSize: Count, bytes: Count });
export type Made = z.infer<typeof Made>;

export interface WorkshopOptions {
  /** Where is written which patches there are. */
  readonly directory: string;
  readonly chunks: ChunkStore;
  /** Where those lie. */
  readonly chunkDirectory: string;
  readonly manifests: ChunkStore;
  readonly vault: Pick<KeyVault, 'contentKey'>;
  readonly log: Log;
  readonly signal: AbortSignal;
}

/** Makes patches between releases, one at a time, and remembers them: `<directory>/<from>.<to>.json`, written when all of the patch is durable. */
export class Workshop {
  readonly #o: WorkshopOptions;
  readonly #made = new Map<string, Made>();
  /** Not worth it, or not to be made: until the next start. */
  readonly #none = new Set<string>();
  readonly #making = new Map<string, Promise<void>>();
  readonly #turns = new Turns(1);

  private constructor(options: WorkshopOptions) {
    this.#o = options;
  }

  /** Removes what a crash left half-made. @throws STORAGE_FAILED */
  static async open(options: WorkshopOptions): Promise<Workshop> {
    const workshop = new Workshop(options);
    await makeDirectory(options.directory);
    await workshop.#load();
    return workshop;
  }

  /** What is known of a patch; undefined: it was not made yet. */
  async known(from: string, to: string): Promise<Made | 'none' | undefined> {
    const pair = pairOf(from, to);
    if (this.#none.has(pair)) return 'none';
    const made = this.#made.get(pair);
    if (made === undefined || (await this.#isWhole(made))) return made;
    // Something of it was lost: it is made anew.
    this.#made.delete(pair);
    return undefined;
  }

  /** Makes a patch, unless it is known or being made. Resolves when it is; what went wrong is logged, and there is none then. */
  make(from: string, to: string): Promise<void> {
    const pair = pairOf(from, to);
    if (this.#made.has(pair) || this.#none.has(pair)) return Promise.resolve();
    const under = this.#making.get(pair);
    if (under !== undefined) return under;
    if (this.#making.size >= MAX_QUEUED_PATCHES) return Promise.resolve();
    const making = this.#turns.run(() => this.#make(from, to)).finally(() => this.#making.delete(pair));
    this.#making.set(pair, making);
    return making;
  }

  /** Resolves when nothing is being made any more: abort the signal first. */
  async idle(): Promise<void> {
    await Promise.all(this.#making.values());
  }

  async #make(from: string, to: string): Promise<void> {
    const { directory, chunks, chunkDirectory, manifests, log, signal } = this.#o;
    const began = performance.now();
    try {
      const [old, next] = [await this.#manifest(from), await this.#manifest(to)];
      const refused = refusal(old, next);
      const lacking = lackingBytes(chunkSizes(next), [chunkSizes(old)]);
      if (refused !== undefined || lacking === 0) return this.#giveUp(from, to, refused ?? 'no chunk is new');
      const file = join(directory, 'making.part');
      const order = { directory: chunkDirectory, old, next, keys: await this.#keys(old, next), file, most: Math.floor(PATCH_WORTH * lacking) };
      const manifest = await makePatchRelease(order, (hash, wire) => chunks.put(hash, wire), signal);
      await rm(file, { force: true });
      if (manifest === undefined) return this.#giveUp(from, to, 'it would save too little');
      const hash = sha256(manifest);
      await manifests.put(hash, manifest);
      const bytes = [...chunkSizes(parseManifest(manifest)).values()].reduce((sum, size) => sum + size, 0);
      const made: Made = { format: 1, from, to, manifest: hash, manifestSize: manifest.length, bytes };
      await writeDurably(this.#file(from, to), JSON.stringify(made));
      this.#made.set(pairOf(from, to), made);
      const ms = Math.round(performance.now() - began);
      log.info('patch.made', { application: next.application, version: next.version, from, to, bytes, lacking, ms });
    } catch (error) {
      this.#none.add(pairOf(from, to));
      if (signal.aborted) return;
      log.warn('patch.not-made', { from, to, error: toWardcastError(error), remedy: 'Devices get whole chunks instead.' });
    }
  }

  #giveUp(from: string, to: string, why: string): void {
    this.#none.add(pairOf(from, to));
    this.#o.log.info('patch.not-worth-it', { from, to, why });
  }

  async #keys(...releases: readonly Manifest[]): Promise<Map<string, Buffer>> {
    const keys = new Map<string, Buffer>();
    for (const { encryption } of releases) for (const id of encryption?.keys ?? []) keys.set(id, await this.#o.vault.contentKey(id));
    return keys;
  }

  async #manifest(hash: string): Promise<Manifest> {
    return parseManifest(await this.#o.manifests.get(hash));
  }

  async #isWhole(made: Made): Promise<boolean> {
    const { manifests, chunks } = this.#o;
    if (!(await manifests.has(made.manifest))) return false;
    for (const hash of chunkSizes(await this.#manifest(made.manifest)).keys()) if (!(await chunks.has(hash))) return false;
    return true;
  }

  async #load(): Promise<void> {
    const { directory, log } = this.#o;
    try {
      for (const name of await readdir(directory)) {
        const file = join(directory, name);
        if (!name.endsWith('.json')) await rm(file, { force: true });
        else {
          const read = Made.safeParse(parsed(await readFile(file, 'utf8')));
          if (read.success) this.#made.set(pairOf(read.data.from, read.data.to), read.data);
          else log.warn('patch.forgotten', { file, remedy: 'Its note was damaged; it is made anew when it is needed.' });
        }
      }
    } catch (error) {
      throw storageFailed(error, 'Cannot read which patches there are in', directory);
    }
  }

  #file(from: string, to: string): string {
    return join(this.#o.directory, `${pairOf(from, to)}.json`);
  }
}

/** Why no patch may be made from one release to the other. */
function refusal(old: Manifest, next: Manifest): string | undefined {
  if (old.application !== next.application) return 'they are of two applications';
  // A difference says what stood there before.
  if (old.encryption !== undefined && next.encryption === undefined) return 'the old one is encrypted, and the new one is not';
  return old.size + next.size > MAX_PATCHED_BYTES ? 'they are too large' : undefined;
}

function pairOf(from: string, to: string): string {
  return `${from}.${to}`;
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
