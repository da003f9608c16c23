import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { open, rename, rm } from 'node:fs/promises';
import { join } from 'node:path';
import type { TargetFile } from '@tufjs/models';
import { systemCode, WardcastError } from '../../shared/base/errors.ts';
import { MAX_FILE_SIZE, MAX_NAME } from '../../shared/base/limits.ts';
import { sha256 } from '../../shared/bundle/digest.ts';
import { fsyncDirectory, makeDirectory, temporaryName } from '../../shared/store/durable-file.ts';
import { join as joinUrl, stream } from './http-repository.ts';

export interface TargetOptions {
  readonly baseUrl: string;
  readonly directory: string;
  /** Whether the repository has consistent snapshots: then a hash stands before the file's name (6.2). */
  readonly consistent: boolean;
  readonly signal?: AbortSignal | undefined;
}

/**
 * A target file with the length and every hash that is signed (TUF 1.0, 5.7), under one name per target path in `directory`; not fetched again while
 * it is there and right. Whole or not at all.
 * @throws METADATA_INVALID, METADATA_MISSING, HASH_MISMATCH, LIMIT_EXCEEDED, STORAGE_FAILED, ABORTED
 */
export async function downloadTarget(target: TargetFile, options: TargetOptions): Promise<{ readonly file: string; readonly fetched: boolean }> {
  const file = join(options.directory, fileName(target.path));
  const hashes = checkedHashes(target);
  await makeDirectory(options.directory);
  if (await isRight(file, target, hashes)) return { file, fetched: false };
  const temporary = temporaryName(join(options.directory, 'target'));
  try {
    const handle = await open(temporary, 'wx', 0o644);
    try {
      const check = new Check(hashes);
      const found = await stream(urlOf(target, options.consistent, hashes, options.baseUrl), target.length, options.signal, async (part) => {
        check.update(part);
        await handle.write(part);
      });
      if (!found) throw new WardcastError('METADATA_MISSING', `The repository does not have the target ${target.path}`);
      if (!check.matches(target.length)) throw new WardcastError('HASH_MISMATCH', `The target ${target.path} is not what was signed`);
      await handle.sync();
    } finally {
      await handle.close();
    }
    await rename(temporary, file);
    await fsyncDirectory(options.directory);
  } catch (error) {
    await rm(temporary, { force: true });
    if (error instanceof WardcastError) throw error;
    throw new WardcastError('STORAGE_FAILED', `The target could not be stored in ${options.directory}`, { cause: error });
  }
  return { file, fetched: true };
}

/** URL-encoded, so that no path leaves the folder; what is too long for a name goes by its hash. */
function fileName(path: string): string {
  const encoded = encodeURIComponent(path).replace(/^\.+/, (dots) => '%2E'.repeat(dots.length));
  return encoded.length <= MAX_NAME ? encoded : sha256(Buffer.from(path));
}

const KNOWN_HASHES = new Set(['sha256', 'sha384', 'sha512', 'blake2b512']);

/** At least one strong hash, and none that cannot be checked. tuf-js would take an empty list as "anything". */
function checkedHashes(target: TargetFile): readonly (readonly [string, string])[] {
  const hashes = Object.entries(target.hashes);
  const unknown = hashes.find(([name]) => !KNOWN_HASHES.has(name));
  if (hashes.length === 0 || unknown !== undefined) {
    throw new WardcastError(
      'METADATA_INVALID',
      `The target ${target.path} is signed with ${unknown === undefined ? 'no hash' : `the unknown hash ${unknown[0]}`}`,
    );
  }
  if (target.length > MAX_FILE_SIZE) throw new WardcastError('LIMIT_EXCEEDED', `The target ${target.path} has more than ${MAX_FILE_SIZE} bytes`);
  return hashes;
}

class Check {
  readonly #digests;
  #length = 0;

  constructor(hashes: readonly (readonly [string, string])[]) {
    this.#digests = hashes.map(([name, expected]) => ({ digest: createHash(name), expected }));
  }

  update(part: Buffer): void {
    this.#length += part.length;
    for (const { digest } of this.#digests) digest.update(part);
  }

  matches(length: number): boolean {
    return this.#length === length && this.#digests.every(({ digest, expected }) => digest.digest('hex') === expected.toLowerCase());
  }
}

async function isRight(file: string, target: TargetFile, hashes: readonly (readonly [string, string])[]): Promise<boolean> {
  const check = new Check(hashes);
  try {
    for await (const part of createReadStream(file)) check.update(part);
  } catch (cause) {
    if (systemCode(cause) === 'ENOENT') return false;
    throw new WardcastError('STORAGE_FAILED', `${file} could not be read`, { cause });
  }
  return check.matches(target.length);
}

function urlOf(target: TargetFile, consistent: boolean, hashes: readonly (readonly [string, string])[], base: string): string {
  const segments = target.path.split('/');
  if (segments.some((segment) => segment === '.' || segment === '..')) {
    throw new WardcastError('METADATA_INVALID', `The target path ${JSON.stringify(target.path)} would leave the repository`);
  }
  const name = segments.pop() ?? '';
  const [, hash = ''] = hashes[0] ?? [];
  return joinUrl(base, [...segments, consistent ? `${hash}.${name}` : name].map(encodeURIComponent).join('/'));
}
