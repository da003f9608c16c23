import { createCipheriv } from 'node:crypto';
import { mkdir, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { split } from '../shared/bundle/chunker.ts';
import { sha256 } from '../shared/bundle/digest.ts';
import { type ChunkRef, printManifest } from '../shared/bundle/manifest.ts';

/** Incompressible bytes that are the same in every run. */
export function seededBytes(length: number): Buffer {
  return createCipheriv('aes-128-ctr', Buffer.alloc(16, 7), Buffer.alloc(16)).update(Buffer.alloc(length));
}

export const APPLICATION = 'viewer';
export const FILE = 'content.bin';

/** One release of one file, as each contestant wants to have it. */
export interface Content {
  readonly size: number;
  /** The folder with the file itself. */
  readonly folder: string;
  /** A chunk store with its chunks. */
  readonly store: string;
  /** A file with its manifest. */
  readonly manifest: string;
  readonly sha256: string;
}

/** Written without any sync: nothing here outlives the bench. */
export async function makeContent(directory: string, size: number): Promise<Content> {
  const bytes = seededBytes(size);
  const folder = path.join(directory, 'files');
  const store = path.join(directory, 'chunks');
  const manifest = path.join(directory, 'manifest.json');
  await mkdir(folder, { recursive: true });
  await writeFile(path.join(folder, FILE), bytes);
  const chunks: ChunkRef[] = [];
  for (const chunk of split(bytes)) {
    const hash = sha256(chunk);
    const shard = path.join(store, hash.slice(0, 2));
    await mkdir(shard, { recursive: true });
    await writeFile(path.join(shard, hash), chunk);
    chunks.push({ hash, size: chunk.length });
  }
  const whole = sha256(bytes);
  const files = [{ path: FILE, size, mode: 0o644 as const, sha256: whole, chunks }];
  await writeFile(manifest, printManifest({ format: 1, application: APPLICATION, version: '1.0.0', size, hooks: {}, files, links: [] }));
  return { size, folder, store, manifest, sha256: whole };
}
