import { randomBytes } from 'node:crypto';
import { mkdir, open, readdir, rename, rm, symlink } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { systemCode } from '../base/errors.ts';
import { storageFailed } from './storage-failed.ts';

/** Files that survive a power cut: complete under their name, or not there at all. */

/** Ends the names of files that are being written; whatever carries it after a crash is worth nothing. */
export const TEMPORARY = '.tmp';

/**
 * Writes a whole file so that a reader, and a start after a power cut at any instant, sees the old or the new content, never a part.
 * @param mode permission bits of the new file
 * @throws STORAGE_FAILED
 */
export async function writeDurably(file: string, bytes: Uint8Array | string, mode = 0o644): Promise<void> {
  const temporary = temporaryName(file);
  try {
    await writeSynced(temporary, bytes, mode);
    await rename(temporary, file);
    await fsyncDirectory(dirname(file));
  } catch (error) {
    await discard(temporary);
    throw storageFailed(error, 'Cannot write', file);
  }
}

/** A new file with its bytes on the disk; its name is not yet, until the directory is synced. `wx`: never through a planted symlink. */
export async function writeSynced(file: string, bytes: Uint8Array | string, mode = 0o644): Promise<void> {
  const handle = await open(file, 'wx', mode);
  try {
    await handle.writeFile(bytes);
    await handle.sync();
  } finally {
    await handle.close();
  }
}

/** Points the symlink `link` to `target` in one step, replacing what it pointed to. @throws STORAGE_FAILED */
export async function replaceSymlink(link: string, target: string): Promise<void> {
  const temporary = temporaryName(link);
  try {
    await symlink(target, temporary);
    await rename(temporary, link);
    await fsyncDirectory(dirname(link));
  } catch (error) {
    await discard(temporary);
    throw storageFailed(error, 'Cannot point to a new target', link);
  }
}

/** Makes the names in a directory (created, renamed, removed) survive a power cut. @throws STORAGE_FAILED */
export async function fsyncDirectory(directory: string): Promise<void> {
  try {
    const handle = await open(directory, 'r');
    try {
      await handle.sync();
    } finally {
      await handle.close();
    }
  } catch (error) {
    throw storageFailed(error, 'Cannot sync', directory);
  }
}

/** `mkdir -p` whose new levels survive a power cut. @throws STORAGE_FAILED */
export async function makeDirectory(directory: string, mode = 0o755): Promise<void> {
  try {
    const first = await mkdir(directory, { recursive: true, mode });
    if (first === undefined) return;
    // Each new level is a name in its parent, from the topmost new one down to `directory`.
    for (let at = directory; at.length >= first.length; at = dirname(at)) await fsyncDirectory(dirname(at));
  } catch (error) {
    throw storageFailed(error, 'Cannot make the directory', directory);
  }
}

/** Removes what a crash left half-written in a directory. Returns how many files. @throws STORAGE_FAILED */
export async function removeLeftovers(directory: string): Promise<number> {
  try {
    const names = (await readdir(directory)).filter((name) => name.endsWith(TEMPORARY));
    for (const name of names) await rm(join(directory, name), { force: true });
    return names.length;
  } catch (error) {
    if (systemCode(error) === 'ENOENT') return 0;
    throw storageFailed(error, 'Cannot clean up', directory);
  }
}

/** A name next to `file` that nobody else uses. */
export function temporaryName(file: string): string {
  return join(dirname(file), `.${basename(file).slice(0, 100)}.${randomBytes(6).toString('hex')}${TEMPORARY}`);
}

/** The first failure is what the caller must hear of; a leftover is removed at the next start anyway. */
async function discard(temporary: string): Promise<void> {
  await rm(temporary, { force: true }).catch(() => undefined);
}
