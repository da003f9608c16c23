import { randomBytes } from 'node:crypto';
import * as nodeFs from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { systemCode, WardcastError } from '../../shared/base/errors.ts';

/** The file operations an install handler uses, as a dependency: so a test can cut the power at each of them. */
export type Disk = Pick<
  typeof nodeFs,
  'mkdir' | 'open' | 'readdir' | 'readFile' | 'lstat' | 'readlink' | 'rename' | 'rm' | 'statfs' | 'symlink' | 'unlink' | 'chmod'
>;

export const realDisk: Disk = nodeFs;

/** Makes the names in a directory survive a power cut. */
export async function syncDirectory(disk: Disk, directory: string): Promise<void> {
  const handle = await disk.open(directory, 'r');
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}

/** Makes a directory and whichever of its parents below `root` are missing, each durable in its parent. */
export async function makeDirectory(disk: Disk, directory: string): Promise<void> {
  const first = await disk.mkdir(directory, { recursive: true });
  if (first === undefined) return;
  // From the deepest new one up to the parent of the first new one: a name is durable once its parent is synced.
  for (let at = directory; at.length >= first.length; at = dirname(at)) await syncDirectory(disk, dirname(at));
}

/** A whole small file: the old or the new content, never a part. */
export async function writeWhole(disk: Disk, file: string, bytes: Buffer): Promise<void> {
  const temporary = temporaryBeside(file);
  const handle = await disk.open(temporary, 'wx', 0o644);
  try {
    await handle.writeFile(bytes);
    await handle.sync();
  } finally {
    await handle.close();
  }
  await disk.rename(temporary, file);
  await syncDirectory(disk, dirname(file));
}

/** Points the symbolic link at `target`, atomically and durably. */
export async function replaceLink(disk: Disk, link: string, target: string): Promise<void> {
  const temporary = temporaryBeside(link);
  await disk.symlink(target, temporary);
  await disk.rename(temporary, link);
  await syncDirectory(disk, dirname(link));
}

/** Removes a name that may be gone already. */
export async function removeName(disk: Disk, file: string): Promise<void> {
  try {
    await disk.unlink(file);
  } catch (error) {
    if (systemCode(error) === 'ENOENT') return;
    throw error;
  }
  await syncDirectory(disk, dirname(file));
}

export async function exists(disk: Disk, path: string): Promise<boolean> {
  try {
    await disk.lstat(path);
    return true;
  } catch (error) {
    if (isAbsent(error)) return false;
    throw error;
  }
}

/** The names in a directory; none when there is no such directory. */
export async function namesIn(disk: Disk, directory: string): Promise<string[]> {
  try {
    return await disk.readdir(directory);
  } catch (error) {
    if (isAbsent(error)) return [];
    throw error;
  }
}

/** Removes all that is in a directory of things being removed. */
export async function emptyDirectory(disk: Disk, directory: string): Promise<void> {
  for (const name of await namesIn(disk, directory)) await disk.rm(join(directory, name), { recursive: true, force: true });
}

export function isAbsent(error: unknown): boolean {
  const code = systemCode(error);
  return code === 'ENOENT' || code === 'ENOTDIR';
}

/** What the disk refused, coded: a full one is told apart, since that passes. Other errors go through unchanged. */
export function diskError(error: unknown, doing: string): unknown {
  const code = systemCode(error);
  if (error instanceof WardcastError || code === undefined || !(error instanceof Error) || !/^E[A-Z0-9]+$/.test(code)) return error;
  if (code === 'ENOSPC' || code === 'EDQUOT') {
    return new WardcastError('SPACE_SHORT', `The disk ran full while ${doing}`, {
      cause: error,
      remedy: 'Free space on the device; the agent tries again by itself.',
    });
  }
  return new WardcastError('STORAGE_FAILED', `The disk refused while ${doing}: ${error.message}`, {
    cause: error,
    remedy: "Check the device's disk and the permissions of the install directory; the agent tries again by itself.",
  });
}

/** Temporary names start with a dot and are swept when an application is staged. */
export const TEMPORARY = /^\..+\.tmp$/;

function temporaryBeside(file: string): string {
  return join(dirname(file), `.${basename(file)}.${randomBytes(6).toString('hex')}.tmp`);
}
