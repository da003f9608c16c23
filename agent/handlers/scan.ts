import { createHash } from 'node:crypto';
import { constants, type Dirent } from 'node:fs';
import type { FileHandle } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { each } from '../../shared/base/each.ts';
import { STAGE_CONCURRENCY } from '../../shared/base/limits.ts';
import type { FileEntry, Manifest } from '../../shared/bundle/manifest.ts';
import { type Disk, isAbsent } from './disk.ts';
import { type Piece, piecesOf, readIntact } from './pieces.ts';

/** What of a release an earlier attempt left, proven by reading it. */
export interface Scan {
  /** One place of each chunk that stands intact somewhere. */
  readonly standing: Map<string, Piece>;
  /** Of each file that is not durable and whole: the pieces it lacks; none when only its end, its mode or its sync is to be seen to. */
  readonly unfinished: ReadonlyMap<FileEntry, readonly Piece[]>;
}

/** Reads what stands in the directory. Files found whole have their mode and are durable afterwards. */
export async function scan(disk: Disk, directory: string, manifest: Manifest, signal?: AbortSignal): Promise<Scan> {
  const standing = new Map<string, Piece>();
  const unfinished = new Map<FileEntry, readonly Piece[]>();
  await each(
    manifest.files,
    STAGE_CONCURRENCY,
    async (file) => {
      const lacking = await scanFile(disk, directory, file, standing);
      if (lacking !== undefined) unfinished.set(file, lacking);
    },
    signal,
  );
  return { standing, unfinished };
}

/** The pieces that a file lacks; undefined when nothing is left to do about it. */
async function scanFile(disk: Disk, directory: string, file: FileEntry, standing: Map<string, Piece>): Promise<Piece[] | undefined> {
  const pieces = piecesOf(file);
  let handle: FileHandle;
  try {
    handle = await disk.open(join(directory, file.path), constants.O_RDONLY | constants.O_NOFOLLOW);
  } catch (error) {
    if (isAbsent(error)) return pieces;
    throw error;
  }
  try {
    const lacking: Piece[] = [];
    const whole = createHash('sha256');
    for (const piece of pieces) {
      const bytes = await readIntact(handle, piece);
      if (bytes === undefined) lacking.push(piece);
      else standing.set(piece.hash, piece);
      // Read once for both hashes, as long as it can still be whole.
      if (bytes !== undefined && lacking.length === 0 && pieces.length > 1) whole.update(bytes);
    }
    if (lacking.length > 0 || (await handle.stat()).size !== file.size) return lacking;
    if (pieces.length > 1 && whole.digest('hex') !== file.sha256) return lacking;
    await handle.chmod(file.mode);
    await handle.sync();
    return undefined;
  } finally {
    await handle.close();
  }
}

/** Every directory the release needs, parents first. */
export function directoriesOf(manifest: Manifest): string[] {
  const found = new Set<string>();
  for (const { path } of [...manifest.files, ...manifest.links]) {
    for (let at = dirname(path); at !== '.' && !found.has(at); at = dirname(at)) found.add(at);
  }
  return [...found].sort();
}

/** Removes what does not belong to the release, and all links: nothing may be written through one. */
export async function sweep(disk: Disk, root: string, inside: string, directories: ReadonlySet<string>, files: ReadonlySet<string>): Promise<void> {
  const entries: Dirent[] = await disk.readdir(join(root, inside), { withFileTypes: true });
  for (const entry of entries) {
    const path = inside === '' ? entry.name : `${inside}/${entry.name}`;
    if (entry.isDirectory() && directories.has(path)) await sweep(disk, root, path, directories, files);
    else if (!(entry.isFile() && files.has(path))) await disk.rm(join(root, path), { recursive: true, force: true });
  }
}
