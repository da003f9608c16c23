import type { Stats } from 'node:fs';
import { lstat, readdir, readlink } from 'node:fs/promises';
import { join } from 'node:path';
import { WardcastError } from '../../shared/base/errors.ts';
import { MAX_FILES } from '../../shared/base/limits.ts';
import { checkPath } from '../../shared/bundle/path.ts';

export interface FoundFile {
  /** In the release, with `/`. */
  readonly path: string;
  readonly file: string;
  readonly size: number;
  readonly mode: 0o644 | 0o755;
}
export interface FoundTree {
  readonly files: readonly FoundFile[];
  readonly links: readonly { readonly path: string; readonly link: string }[];
}

/**
 * All files and symlinks below a directory. Whatever a release cannot carry is refused by name, never left out silently; empty directories
 * are not carried. Whether links stay inside is decided with the whole manifest.
 * @throws PATH_UNSAFE, MANIFEST_INVALID (device, socket, pipe, setuid …), LIMIT_EXCEEDED, STORAGE_FAILED
 */
export async function walkTree(directory: string, options: { signal?: AbortSignal | undefined } = {}): Promise<FoundTree> {
  const files: FoundFile[] = [];
  const links: { path: string; link: string }[] = [];
  const pending = [''];
  for (let prefix = pending.pop(); prefix !== undefined; prefix = pending.pop()) {
    options.signal?.throwIfAborted();
    for (const name of await names(join(directory, prefix))) {
      const path = `${prefix}${name}`;
      // Where a name is no UTF-8, Node puts this character: the file could not be opened by it.
      if (name.includes('\ufffd')) throw new WardcastError('PATH_UNSAFE', `The path ${JSON.stringify(path)} is refused: it is no UTF-8`);
      checkPath(path);
      const file = join(directory, path);
      const stats = await lstat(file);
      if (stats.isDirectory()) pending.push(`${path}/`);
      else if (stats.isSymbolicLink()) links.push({ path, link: await readlink(file) });
      else files.push({ path, file, size: stats.size, mode: modeOf(path, stats) });
      if (files.length + links.length > MAX_FILES) {
        throw new WardcastError('LIMIT_EXCEEDED', `The tree ${directory} has more than ${MAX_FILES} files`, { remedy: 'Pack it into several applications.' });
      }
    }
  }
  return { files: files.sort(byPath), links: links.sort(byPath) };
}

async function names(directory: string): Promise<string[]> {
  try {
    return (await readdir(directory)).sort();
  } catch (cause) {
    throw new WardcastError('STORAGE_FAILED', `The directory ${directory} could not be read`, { cause, remedy: 'Name an existing, readable directory.' });
  }
}

function modeOf(path: string, stats: Stats): 0o644 | 0o755 {
  const refuse = (why: string): WardcastError =>
    new WardcastError('MANIFEST_INVALID', `${JSON.stringify(path)} is refused: ${why}`, { remedy: 'Remove it from the tree, or make it a regular file.' });
  if (stats.isFIFO()) throw refuse('it is a named pipe');
  if (stats.isSocket()) throw refuse('it is a socket');
  if (stats.isBlockDevice() || stats.isCharacterDevice()) throw refuse('it is a device');
  if (!stats.isFile()) throw refuse('it is no regular file');
  if ((stats.mode & 0o4000) !== 0) throw refuse('it is setuid');
  if ((stats.mode & 0o2000) !== 0) throw refuse('it is setgid');
  return (stats.mode & 0o111) === 0 ? 0o644 : 0o755;
}

function byPath(a: { readonly path: string }, b: { readonly path: string }): number {
  return a.path < b.path ? -1 : a.path > b.path ? 1 : 0;
}
