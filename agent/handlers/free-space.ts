import { WardcastError } from '../../shared/base/errors.ts';
import { FREE_SPACE_RESERVE } from '../../shared/base/limits.ts';
import type { Disk } from './disk.ts';

/** Bytes an unprivileged writer may still use on the file system of `directory`. */
export async function freeSpace(disk: Disk, directory: string): Promise<number> {
  const { bavail, bsize } = await disk.statfs(directory);
  return bavail * bsize;
}

/**
 * Refuses before the first byte is fetched rather than when the disk is full.
 * @param needed bytes still to be written
 * @throws SPACE_SHORT
 */
export function requireSpace(free: number, needed: number): void {
  if (needed === 0 || free >= needed + FREE_SPACE_RESERVE) return;
  throw new WardcastError('SPACE_SHORT', `The release needs ${needed} bytes and ${FREE_SPACE_RESERVE} in reserve, but only ${free} are free`, {
    remedy: 'Free space on the device; the agent tries again by itself.',
    context: { needed, free, reserve: FREE_SPACE_RESERVE },
  });
}
