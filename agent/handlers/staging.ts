import { constants } from 'node:fs';
import { join } from 'node:path';
import { each } from '../../shared/base/each.ts';
import { STAGE_CONCURRENCY } from '../../shared/base/limits.ts';
import type { Manifest } from '../../shared/bundle/manifest.ts';
import type { ChunkFetcher } from '../../shared/store/chunk-fetcher.ts';
import { type Disk, exists, isAbsent, makeDirectory, syncDirectory } from './disk.ts';
import { freeSpace, requireSpace } from './free-space.ts';
import type { StageOptions } from './install-handler.ts';
import { wholeHash } from './pieces.ts';
import { directoriesOf, scan, sweep } from './scan.ts';
import { TreeWriter } from './tree-writer.ts';

export interface TreeJob extends StageOptions {
  readonly disk: Disk;
  /** Where the tree comes to stand; what an earlier attempt left there is verified and reused. */
  readonly directory: string;
  readonly manifest: Manifest;
  readonly chunks: ChunkFetcher;
}

/**
 * Builds a release's tree from verified chunks: afterwards every file is there, whole by its sha256, with its mode, durable together
 * with all names. May be called again after a kill at any instant: it trusts nothing that stands there and fetches only what is missing.
 * @throws SPACE_SHORT, OBJECT_ABSENT, HASH_MISMATCH, MANIFEST_INVALID when files and chunks of the manifest disagree, and what the disk throws
 */
export async function buildTree({ disk, directory, manifest, chunks, signal, onMissing, onStaged }: TreeJob): Promise<void> {
  await makeDirectory(disk, directory);
  const directories = directoriesOf(manifest);
  await sweep(disk, directory, '', new Set(directories), new Set(manifest.files.map((file) => file.path)));
  for (const name of directories) await disk.mkdir(join(directory, name), { recursive: true });

  const found = await scan(disk, directory, manifest, signal);
  let toWrite = 0;
  for (const pieces of found.unfinished.values()) for (const piece of pieces) toWrite += piece.size;
  requireSpace(toWrite === 0 ? 0 : await freeSpace(disk, directory), toWrite);

  const writer = new TreeWriter({ disk, directory, manifest, scan: found, signal });
  try {
    await writer.begin();
    const { wanted } = writer;
    onMissing?.([...wanted.values()].reduce((sum, size) => sum + size, 0));
    onStaged?.(writer);
    if (wanted.size > 0) await chunks.fetch(wanted, (hash, bytes) => writer.write(hash, bytes), { signal: writer.signal });
    await writer.finished();
  } catch (error) {
    // When writing failed, that is the reason; what the fetcher said about being stopped is not.
    throw writer.signal.aborted ? writer.signal.reason : error;
  } finally {
    await writer.end();
  }
  for (const { path, link } of manifest.links) await disk.symlink(link, join(directory, path));
  await each(['', ...directories], STAGE_CONCURRENCY, (name) => syncDirectory(disk, join(directory, name)), signal);
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
