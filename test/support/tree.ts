import { readdir, readFile } from 'node:fs/promises';
import path from 'node:path';
import { sha256 } from '../../shared/bundle/digest.ts';

/** Every file below a directory, by path: its content. For small trees. Never through a link: the recursive readdir of Node 26 follows them. */
export async function readTree(directory: string, inside = ''): Promise<Map<string, Buffer>> {
  const files = new Map<string, Buffer>();
  for (const entry of await readdir(path.join(directory, inside), { withFileTypes: true })) {
    const name = path.join(inside, entry.name);
    if (entry.isFile()) files.set(name, await readFile(path.join(directory, name)));
    if (entry.isDirectory()) for (const [below, content] of await readTree(directory, name)) files.set(below, content);
  }
  return files;
}

/** Every file below a directory, by path: its SHA-256. Large trees are compared a hundred times faster this way. */
export async function hashTree(directory: string): Promise<Map<string, string>> {
  return new Map([...(await readTree(directory))].map(([file, content]) => [file, sha256(content)]));
}
