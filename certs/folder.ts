import { randomBytes } from 'node:crypto';
import { mkdir, open, rename, rm } from 'node:fs/promises';
import { basename, dirname, join, resolve } from 'node:path';
import { systemCode, WardcastError } from '../shared/base/errors.ts';

export interface NewFile {
  readonly text: string;
  /** Secrets are readable by their owner alone from the first byte on. */
  readonly secret?: boolean;
}

/**
 * Writes a folder whole or not at all: beside its place, synced, then renamed there. Never replaces anything.
 * A power cut leaves at most a `.new-…` folder, which nobody reads.
 * @throws CONFLICT when something is there already, STORAGE_FAILED
 */
export async function writeFolder(directory: string, files: Readonly<Record<string, NewFile>>, what: string): Promise<void> {
  const target = resolve(directory);
  const parent = dirname(target);
  const fresh = join(parent, `.new-${basename(target)}-${randomBytes(6).toString('hex')}`);
  try {
    const first = await mkdir(parent, { recursive: true, mode: 0o700 });
    await mkdir(fresh, { mode: 0o700 });
    for (const [name, file] of Object.entries(files)) await writeNew(join(fresh, name), file);
    await syncDirectory(fresh);
    // POSIX: fails when the target holds anything, and takes the place of an empty folder.
    await rename(fresh, target);
    await syncUpTo(parent, first);
  } catch (error) {
    await rm(fresh, { recursive: true, force: true });
    if (['ENOTEMPTY', 'EEXIST', 'ENOTDIR'].includes(systemCode(error) ?? '')) throw conflict(directory, what, error);
    throw new WardcastError('STORAGE_FAILED', `${directory} cannot be written: ${systemCode(error) ?? String(error)}`, {
      remedy: 'See that the folder above it is writable and the disk has room.',
      cause: error,
    });
  }
}

/** One file beside others, durable on return. Never replaces anything. @throws CONFLICT, STORAGE_FAILED */
export async function writeNewFile(file: string, text: string): Promise<void> {
  try {
    await writeNew(file, { text });
    await syncDirectory(dirname(resolve(file)));
  } catch (error) {
    if (systemCode(error) === 'EEXIST') {
      throw new WardcastError('CONFLICT', `${file} exists already`, { remedy: 'Nothing was overwritten: choose another name.', cause: error });
    }
    throw new WardcastError('STORAGE_FAILED', `${file} cannot be written: ${systemCode(error) ?? String(error)}`, {
      remedy: 'See that its folder exists and is writable, and the disk has room.',
      cause: error,
    });
  }
}

/** One file that must not be there yet, durable on return. */
async function writeNew(file: string, { text, secret = false }: NewFile): Promise<void> {
  await using handle = await open(file, 'wx', secret ? 0o600 : 0o644);
  await handle.writeFile(text);
  await handle.sync();
}

/** Makes the entry in `directory` durable, and the folders above it as far as they are new (`first` is the topmost of them). */
async function syncUpTo(directory: string, first: string | undefined): Promise<void> {
  const last = first === undefined ? directory : dirname(first);
  for (let at = directory; ; at = dirname(at)) {
    await syncDirectory(at);
    if (at === last || at === dirname(at)) return;
  }
}

async function syncDirectory(directory: string): Promise<void> {
  await using handle = await open(directory, 'r');
  await handle.sync();
}

export function conflict(directory: string, what: string, cause?: unknown): WardcastError {
  return new WardcastError('CONFLICT', `${what} exists already: ${directory} is not empty`, {
    remedy: 'Nothing was overwritten. Choose another folder, or move the old one away if it is no longer needed.',
    ...(cause === undefined ? {} : { cause }),
  });
}
