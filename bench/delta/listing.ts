import { createHash } from 'node:crypto';
import { closeSync, createReadStream, openSync, readSync } from 'node:fs';
import { readdir, stat } from 'node:fs/promises';
import path from 'node:path';
import { pipeline } from 'node:stream/promises';
import type { TreeFile } from '../../shared/delta/tree.ts';

/** A file as the manifest of its release knows it. */
export interface Listed {
  readonly path: string;
  readonly size: number;
  readonly sha256: string;
}

/** All regular files below a directory by path, as the signed manifests at both ends list them. */
export async function list(directory: string): Promise<Listed[]> {
  const files: Listed[] = [];
  for (const entry of await readdir(directory, { recursive: true, withFileTypes: true })) {
    if (!entry.isFile()) continue;
    const file = path.join(entry.parentPath, entry.name);
    const hash = createHash('sha256');
    await pipeline(createReadStream(file, { highWaterMark: 1 << 20 }), hash);
    files.push({ path: path.relative(directory, file), size: (await stat(file)).size, sha256: hash.digest('hex') });
  }
  return files.sort((a, b) => (a.path < b.path ? -1 : 1));
}

/** The same files with readers that open them when asked and keep none open: a release may have more than a process may. */
export function readable(directory: string, files: readonly Listed[]): TreeFile[] {
  return files.map((file) => ({
    ...file,
    reader: {
      size: file.size,
      read(buffer: Uint8Array, position: number): void {
        const handle = openSync(path.join(directory, file.path), 'r');
        try {
          for (let at = 0; at < buffer.length; ) {
            const got = readSync(handle, buffer, at, buffer.length - at, position + at);
            if (got === 0) throw new Error(`${file.path} is shorter than it was`);
            at += got;
          }
        } finally {
          closeSync(handle);
        }
      },
    },
  }));
}
