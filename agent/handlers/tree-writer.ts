import { constants } from 'node:fs';
import type { FileHandle } from 'node:fs/promises';
import { join } from 'node:path';
import { each, Turns } from '../../shared/base/each.ts';
import { WardcastError } from '../../shared/base/errors.ts';
import { STAGE_CONCURRENCY, STAGE_OPEN_FILES } from '../../shared/base/limits.ts';
import { sha256 } from '../../shared/bundle/digest.ts';
import type { FileEntry, Manifest } from '../../shared/bundle/manifest.ts';
import type { Disk } from './disk.ts';
import type { StagedChunks } from './install-handler.ts';
import { OpenFiles } from './open-files.ts';
import { type Piece, piecesOf, readIntact, wholeHash, writePiece } from './pieces.ts';
import type { Scan } from './scan.ts';

/**
 * Writes chunks to all their places in whatever order they come, and finishes each file behind the others' backs as soon as its last chunk is in:
 * hash, mode, sync. The first failure stops everything; `signal` tells.
 */
export class TreeWriter implements StagedChunks {
  readonly #disk: Disk;
  readonly #directory: string;
  readonly #manifest: Manifest;
  readonly #standing: Map<string, Piece>;
  /** Places still to be written, by chunk. */
  readonly #lacking = new Map<string, Piece[]>();
  /** Pieces that each unfinished file lacks. */
  readonly #left = new Map<FileEntry, number>();
  readonly #files: OpenFiles<FileEntry>;
  readonly #finishing = new Turns(STAGE_CONCURRENCY);
  readonly #running = new Set<Promise<void>>();
  readonly #stop = new AbortController();
  readonly signal: AbortSignal;
  #ended = false;

  constructor(o: {
    readonly disk: Disk;
    readonly directory: string;
    readonly manifest: Manifest;
    readonly scan: Scan;
    readonly signal?: AbortSignal | undefined;
  }) {
    this.#disk = o.disk;
    this.#directory = o.directory;
    this.#manifest = o.manifest;
    this.#standing = o.scan.standing;
    for (const [file, pieces] of o.scan.unfinished) {
      this.#left.set(file, pieces.length);
      for (const piece of pieces) {
        const places = this.#lacking.get(piece.hash);
        if (places === undefined) this.#lacking.set(piece.hash, [piece]);
        else places.push(piece);
      }
    }
    this.#files = new OpenFiles(STAGE_OPEN_FILES, (file) => this.#make(file));
    this.signal = o.signal === undefined ? this.#stop.signal : AbortSignal.any([o.signal, this.#stop.signal]);
  }

  /** Chunks that are still to come: hash → bytes of the wire form. */
  get wanted(): Map<string, number> {
    return new Map([...this.#lacking].map(([hash, places]) => [hash, places[0]?.wire ?? 0]));
  }

  /** Begins to finish the files that lack nothing, and copies chunks that stand at another place of the tree. */
  async begin(): Promise<void> {
    for (const [file, left] of this.#left) if (left === 0) await this.#finish(file);
    const here = [...this.#lacking.keys()].filter((hash) => this.#standing.has(hash));
    await each(
      here,
      STAGE_CONCURRENCY,
      async (hash) => {
        const bytes = await this.read(hash);
        // What was damaged since the scan has to be fetched.
        if (bytes !== undefined) await this.write(hash, bytes);
      },
      this.signal,
    );
  }

  /**
   * Writes a chunk's content at all its places. Waits while many files are being finished, so that a slow disk slows the sources down.
   * @throws HASH_MISMATCH, INTERNAL when nobody asked for it, what the disk throws
   */
  write(hash: string, bytes: Buffer): Promise<void> {
    return this.#track(async () => {
      this.signal.throwIfAborted();
      const places = this.#lacking.get(hash);
      if (places === undefined) throw new WardcastError('INTERNAL', 'A chunk was delivered that is not wanted, or not any more', { context: { chunk: hash } });
      this.#lacking.delete(hash);
      this.#check(places, hash, bytes);
      await each(places, Math.min(places.length, STAGE_CONCURRENCY), async (piece) => {
        await this.#files.use(piece.file, (handle) => writePiece(handle, piece, bytes));
        this.#standing.set(hash, piece);
        const left = (this.#left.get(piece.file) ?? 0) - 1;
        this.#left.set(piece.file, left);
        if (left === 0) await this.#finish(piece.file);
      });
    });
  }

  has(hash: string): boolean {
    return !this.#ended && this.#standing.has(hash);
  }

  async read(hash: string): Promise<Buffer | undefined> {
    const piece = this.#ended ? undefined : this.#standing.get(hash);
    if (piece === undefined) return undefined;
    try {
      const handle = await this.#disk.open(join(this.#directory, piece.file.path), constants.O_RDONLY | constants.O_NOFOLLOW);
      try {
        const bytes = await readIntact(handle, piece);
        if (bytes !== undefined) return bytes;
      } finally {
        await handle.close();
      }
    } catch {
      // Gone or unreadable is not there; whoever asked has other sources, and staging meets the disk's error itself.
    }
    if (this.#standing.get(hash) === piece) this.#standing.delete(hash);
    return undefined;
  }

  /** Resolves when every file is whole and durable. @throws the first failure, OBJECT_ABSENT when chunks never came */
  async finished(): Promise<void> {
    while (this.#running.size > 0) await Promise.all(this.#running);
    this.signal.throwIfAborted();
    const [missing] = this.#lacking.keys();
    if (missing !== undefined) throw new WardcastError('OBJECT_ABSENT', `${this.#lacking.size} chunks were never delivered`, { context: { chunk: missing } });
  }

  /** Ends everything: no file is open and nothing is written any more when it resolves. */
  async end(): Promise<void> {
    this.#ended = true;
    this.#stop.abort(new WardcastError('ABORTED', 'Staging has ended'));
    while (this.#running.size > 0) await Promise.all(this.#running);
    await this.#files.closeAll();
  }

  /**
   * Fetchers verify what they deliver, so it is not hashed again, except for files of one chunk: those have its hash for theirs, and hashing
   * here saves reading them back. The others are hashed whole when they are complete: whatever a fetcher did, nothing is installed unproven.
   */
  #check(places: readonly Piece[], hash: string, bytes: Buffer): void {
    const [place] = places;
    if (bytes.length === place?.size && (places.every(({ file }) => file.chunks.length > 1) || sha256(bytes) === place.plain)) return;
    throw new WardcastError('HASH_MISMATCH', `A source gave ${bytes.length} bytes that are not the chunk the manifest names`, { context: { chunk: hash } });
  }

  /** Its size first: so that what is longer is cut, and the file system may lay it out at once. */
  async #make(file: FileEntry): Promise<FileHandle> {
    const handle = await this.#disk.open(join(this.#directory, file.path), constants.O_RDWR | constants.O_CREAT | constants.O_NOFOLLOW, 0o600);
    try {
      await handle.truncate(file.size);
      return handle;
    } catch (error) {
      await handle.close();
      throw error;
    }
  }

  /** Resolves when it has begun. */
  async #finish(file: FileEntry): Promise<void> {
    const begun = Promise.withResolvers<void>();
    void this.#track(() =>
      this.#finishing.run(async () => {
        begun.resolve();
        this.signal.throwIfAborted();
        await this.#files.use(file, async (handle) => {
          await handle.chmod(file.mode);
          // Both at once: reading back is the processor's time, syncing the disk's. What stands here is believed by nobody before all is proven.
          const synced = handle.sync();
          synced.catch(() => undefined);
          try {
            if (file.chunks.length > 1 && (await wholeHash(handle)) !== file.sha256) throw await this.#whyNotWhole(file, handle);
          } finally {
            await synced;
          }
        });
        await this.#files.close(file);
      }),
    ).catch(() => undefined);
    await begun.promise;
  }

  /** Intact pieces that make no whole are the vendor's mistake and will not pass; a damaged piece is fetched again at the next attempt. */
  async #whyNotWhole(file: FileEntry, handle: FileHandle): Promise<WardcastError> {
    const context = { application: this.#manifest.application, version: this.#manifest.version, path: file.path };
    for (const piece of piecesOf(file)) {
      if ((await readIntact(handle, piece)) !== undefined) continue;
      return new WardcastError('HASH_MISMATCH', `${file.path} does not have its sha256 after it was written`, { context: { ...context, chunk: piece.hash } });
    }
    return new WardcastError('MANIFEST_INVALID', `The chunks of ${file.path} do not add up to its sha256`, {
      remedy: 'Sign the release again from its files.',
      context,
    });
  }

  /** The first failure ends all the others, and is what `signal` and `finished` tell. */
  async #track(work: () => Promise<void>): Promise<void> {
    const running = work();
    const quiet = running.catch((error: unknown) => this.#stop.abort(error));
    this.#running.add(quiet);
    try {
      await running;
    } finally {
      this.#running.delete(quiet);
    }
  }
}
