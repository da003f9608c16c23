import { createHash } from 'node:crypto';
import { constants, type Dirent } from 'node:fs';
import type { FileHandle } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { WardcastError } from '../../shared/base/errors.ts';
import { FETCH_CONCURRENCY, STAGE_CONCURRENCY } from '../../shared/base/limits.ts';
import { sha256 } from '../../shared/bundle/digest.ts';
import type { FileEntry, Manifest } from '../../shared/bundle/manifest.ts';
import type { ChunkSource } from '../../shared/store/chunk-source.ts';
import { type Disk, exists, isAbsent, makeDirectory, syncDirectory } from './disk.ts';
import { each, Turns } from './each.ts';
import { freeSpace, requireSpace } from './free-space.ts';

export interface TreeJob {
  readonly disk: Disk;
  /** Where the tree comes to stand; what an earlier attempt left there is verified and reused. */
  readonly directory: string;
  readonly manifest: Manifest;
  readonly chunks: ChunkSource;
  readonly signal?: AbortSignal | undefined;
  /** Told once: bytes of content that are not here yet, each chunk once. */
  readonly onMissing?: ((bytes: number) => void) | undefined;
}

/** One place of a chunk. */
interface Piece {
  readonly file: FileEntry;
  readonly hash: string;
  readonly size: number;
  readonly offset: number;
}

/**
 * Builds a release's tree from verified chunks: afterwards every file is there, whole by its sha256, with its mode, durable together
 * with all names. May be called again after a kill at any instant: it trusts nothing that stands there and fetches only what is missing.
 * @throws SPACE_SHORT, OBJECT_ABSENT, HASH_MISMATCH, MANIFEST_INVALID when files and chunks of the manifest disagree, and what the disk throws
 */
export async function buildTree(job: TreeJob): Promise<void> {
  const { disk, directory, manifest } = job;
  await makeDirectory(disk, directory);
  const directories = directoriesOf(manifest);
  await sweep(disk, directory, '', directories, new Set(manifest.files.map((file) => file.path)));
  for (const name of directories) await disk.mkdir(join(directory, name), { recursive: true });

  const missing = new Map<FileEntry, Piece[]>();
  await each(
    manifest.files,
    STAGE_CONCURRENCY,
    async (file) => {
      missing.set(file, await missingPieces(disk, directory, file));
    },
    job.signal,
  );
  const here = new OwnPieces(job, missing);
  let toWrite = 0;
  for (const pieces of missing.values()) for (const piece of pieces) toWrite += piece.size;
  requireSpace(toWrite === 0 ? 0 : await freeSpace(disk, directory), toWrite);
  job.onMissing?.(here.bytesToFetch);

  const fetches = new Turns(FETCH_CONCURRENCY);
  await each(
    manifest.files,
    STAGE_CONCURRENCY,
    (file, signal) => fillFile(job, file, missing.get(file) ?? [], (piece) => fetches.run(() => here.bytes(piece, signal)), signal),
    job.signal,
  );
  for (const { path, link } of manifest.links) await disk.symlink(link, join(directory, path));
  await each(['', ...directories], STAGE_CONCURRENCY, (name) => syncDirectory(disk, join(directory, name)), job.signal);
}

/** True if the tree is whole: every file with its size, content and mode, every link, nothing else asked. */
export async function isWhole(disk: Disk, directory: string, manifest: Manifest): Promise<boolean> {
  for (const file of manifest.files) {
    try {
      const status = await disk.lstat(join(directory, file.path));
      if (!status.isFile() || status.size !== file.size || (status.mode & 0o777) !== file.mode) return false;
      const handle = await disk.open(join(directory, file.path), constants.O_RDONLY | constants.O_NOFOLLOW);
      try {
        if ((await wholeHash(handle)) !== file.sha256) return false;
      } finally {
        await handle.close();
      }
    } catch (error) {
      if (isAbsent(error)) return false;
      throw error;
    }
  }
  for (const { path, link } of manifest.links) {
    if (!(await exists(disk, join(directory, path)))) return false;
    const status = await disk.lstat(join(directory, path));
    if (!status.isSymbolicLink() || (await disk.readlink(join(directory, path))) !== link) return false;
  }
  return true;
}

/** Every directory the release needs, parents first. */
function directoriesOf(manifest: Manifest): string[] {
  const found = new Set<string>();
  for (const { path } of [...manifest.files, ...manifest.links]) {
    for (let at = dirname(path); at !== '.' && !found.has(at); at = dirname(at)) found.add(at);
  }
  return [...found].sort();
}

/** Removes what does not belong to the release, and all links: nothing may be written through one. */
async function sweep(disk: Disk, root: string, inside: string, directories: readonly string[], files: ReadonlySet<string>): Promise<void> {
  const wanted = new Set(directories);
  const entries: Dirent[] = await disk.readdir(join(root, inside), { withFileTypes: true });
  for (const entry of entries) {
    const path = inside === '' ? entry.name : `${inside}/${entry.name}`;
    if (entry.isDirectory() && wanted.has(path)) await sweep(disk, root, path, directories, files);
    else if (!(entry.isFile() && files.has(path))) await disk.rm(join(root, path), { recursive: true, force: true });
  }
}

/** The pieces of a file that are not there, or not intact. */
async function missingPieces(disk: Disk, directory: string, file: FileEntry): Promise<Piece[]> {
  const pieces = piecesOf(file);
  let handle: FileHandle;
  try {
    handle = await disk.open(join(directory, file.path), constants.O_RDONLY | constants.O_NOFOLLOW);
  } catch (error) {
    if (isAbsent(error)) return pieces;
    throw error;
  }
  try {
    const missing: Piece[] = [];
    for (const piece of pieces) {
      if ((await readIntact(handle, piece)) === undefined) missing.push(piece);
    }
    return missing;
  } finally {
    await handle.close();
  }
}

function piecesOf(file: FileEntry): Piece[] {
  let offset = 0;
  return file.chunks.map(({ hash, size }) => {
    const piece = { file, hash, size, offset };
    offset += size;
    return piece;
  });
}

async function readIntact(handle: FileHandle, piece: { readonly hash: string; readonly size: number; readonly offset: number }): Promise<Buffer | undefined> {
  const bytes = Buffer.allocUnsafe(piece.size);
  let filled = 0;
  while (filled < piece.size) {
    const { bytesRead } = await handle.read(bytes, filled, piece.size - filled, piece.offset + filled);
    if (bytesRead === 0) return undefined;
    filled += bytesRead;
  }
  return sha256(bytes) === piece.hash ? bytes : undefined;
}

async function fillFile(
  job: TreeJob,
  file: FileEntry,
  missing: readonly Piece[],
  fetch: (piece: Piece) => Promise<Buffer>,
  signal: AbortSignal,
): Promise<void> {
  const { disk } = job;
  const handle = await disk.open(join(job.directory, file.path), constants.O_RDWR | constants.O_CREAT | constants.O_NOFOLLOW, 0o600);
  try {
    await each(
      missing,
      Math.min(FETCH_CONCURRENCY, missing.length),
      async (piece) => {
        const bytes = await fetch(piece);
        for (let written = 0; written < bytes.length; ) {
          written += (await handle.write(bytes, written, bytes.length - written, piece.offset + written)).bytesWritten;
        }
      },
      signal,
    );
    await handle.truncate(file.size);
    // A file of one chunk is its chunk: the manifest says so (checkManifest), and the chunk was verified on its way in or when it was found here.
    if (file.chunks.length !== 1 && (await wholeHash(handle)) !== file.sha256) throw await whyNotWhole(disk, job, file);
    await handle.chmod(file.mode);
    await handle.sync();
  } finally {
    await handle.close();
  }
}

async function wholeHash(handle: FileHandle): Promise<string> {
  const hash = createHash('sha256');
  const buffer = Buffer.allocUnsafe(256 * 1024);
  for (let position = 0; ; ) {
    const { bytesRead } = await handle.read(buffer, 0, buffer.length, position);
    if (bytesRead === 0) return hash.digest('hex');
    hash.update(buffer.subarray(0, bytesRead));
    position += bytesRead;
  }
}

/** Intact pieces that make no whole are the vendor's mistake and will not pass; a damaged piece is fetched again at the next attempt. */
async function whyNotWhole(disk: Disk, job: TreeJob, file: FileEntry): Promise<WardcastError> {
  const context = { application: job.manifest.application, version: job.manifest.version, path: file.path };
  if ((await missingPieces(disk, job.directory, file)).length > 0) {
    return new WardcastError('HASH_MISMATCH', `${file.path} does not have its sha256 after it was written`, { context });
  }
  return new WardcastError('MANIFEST_INVALID', `The chunks of ${file.path} do not add up to its sha256`, {
    remedy: 'Sign the release again from its files.',
    context,
  });
}

/** Chunks by where they already stand in this tree, so that a chunk that occurs twice is fetched once. */
class OwnPieces {
  readonly #job: TreeJob;
  readonly #placed = new Map<string, Piece>();
  readonly #running = new Map<string, Promise<Buffer>>();
  /** Bytes that only the sources can give, each chunk once. */
  readonly bytesToFetch: number;

  constructor(job: TreeJob, missing: ReadonlyMap<FileEntry, readonly Piece[]>) {
    this.#job = job;
    const sizes = new Map<string, number>();
    for (const pieces of missing.values()) for (const { hash, size } of pieces) sizes.set(hash, size);
    for (const [file, pieces] of missing) {
      const absent = new Set(pieces.map((piece) => piece.offset));
      for (const piece of piecesOf(file)) {
        if (sizes.has(piece.hash) && !absent.has(piece.offset)) this.#placed.set(piece.hash, piece);
      }
    }
    let bytes = 0;
    for (const [hash, size] of sizes) if (!this.#placed.has(hash)) bytes += size;
    this.bytesToFetch = bytes;
  }

  async bytes(piece: Piece, signal: AbortSignal): Promise<Buffer> {
    const running = this.#running.get(piece.hash);
    if (running !== undefined) return await running;
    const mine = this.#get(piece, signal);
    this.#running.set(piece.hash, mine);
    try {
      return await mine;
    } finally {
      this.#running.delete(piece.hash);
    }
  }

  async #get(piece: Piece, signal: AbortSignal): Promise<Buffer> {
    const own = this.#placed.get(piece.hash);
    const bytes = (own === undefined ? undefined : await this.#read(own)) ?? (await this.#job.chunks.get(piece.hash, { signal }));
    // Sources promise to have verified; what is about to be installed is proven here all the same.
    if (bytes.length !== piece.size || sha256(bytes) !== piece.hash) {
      throw new WardcastError('HASH_MISMATCH', `A source gave ${bytes.length} bytes that are not the chunk the manifest names`, {
        context: { chunk: piece.hash },
      });
    }
    // From here on a second place reads it back; read verified, so a write that has not happened yet only costs a fetch.
    this.#placed.set(piece.hash, piece);
    return bytes;
  }

  async #read(piece: Piece): Promise<Buffer | undefined> {
    const handle = await this.#job.disk.open(join(this.#job.directory, piece.file.path), constants.O_RDONLY | constants.O_NOFOLLOW);
    try {
      return await readIntact(handle, piece);
    } finally {
      await handle.close();
    }
  }
}
