import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { systemCode, WardcastError } from '../../shared/base/errors.ts';
import { writeDurably } from '../../shared/store/durable-file.ts';
import { metadataName, parseMetadataName } from '../../shared/trust/roles.ts';

/** Signed metadata in a folder, one file per version: `<N>.<role>.json`. Old versions stay. */

export interface RoleFile {
  readonly version: number;
  readonly bytes: Buffer;
}

/** The highest version of a role; undefined when there is none. @throws STORAGE_FAILED */
export async function newestRole(folder: string, role: string): Promise<RoleFile | undefined> {
  try {
    const versions = (await readdir(folder))
      .map(parseMetadataName)
      .flatMap((name) => (name?.role === role && name.version !== undefined ? [name.version] : []));
    if (versions.length === 0) return undefined;
    const version = Math.max(...versions);
    return { version, bytes: await readFile(join(folder, metadataName(role, version))) };
  } catch (cause) {
    if (systemCode(cause) === 'ENOENT') return undefined;
    throw new WardcastError('STORAGE_FAILED', `The metadata in ${folder} could not be read`, { cause });
  }
}

/** Returns the file's name. @throws STORAGE_FAILED */
export async function writeRole(folder: string, role: string, version: number, bytes: Buffer): Promise<string> {
  const file = join(folder, metadataName(role, version));
  await writeDurably(file, bytes);
  return file;
}
