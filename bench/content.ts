import { createCipheriv } from 'node:crypto';
import { mkdir, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { packChunk } from '../shared/bundle/chunk-form.ts';
import { split } from '../shared/bundle/chunker.ts';
import { contentKeyId, newContentKey } from '../shared/bundle/content-key.ts';
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
  /** The same release encrypted, where it was asked for. */
  readonly encrypted?: Packed & { readonly key: Buffer };
}
/** A chunk store, and a file with the manifest. */
interface Packed {
  readonly store: string;
  readonly manifest: string;
}

/** Written without any sync: nothing here outlives the bench. */
export async function makeContent(directory: string, size: number, { encrypted = false } = {}): Promise<Content> {
  const bytes = seededBytes(size);
  const folder = path.join(directory, 'files');
  await mkdir(folder, { recursive: true });
  await writeFile(path.join(folder, FILE), bytes);
  const clear = await pack(directory, bytes);
  const key = newContentKey();
  return {
    ...{ size, folder, sha256: sha256(bytes), ...clear },
    ...(encrypted ? { encrypted: { ...(await pack(path.join(directory, 'encrypted'), bytes, key)), key } } : {}),
  };
}

async function pack(directory: string, bytes: Buffer, key?: Buffer): Promise<Packed> {
  const store = path.join(directory, 'chunks');
  const manifest = path.join(directory, 'manifest.json');
  const chunks: ChunkRef[] = [];
  for (const piece of split(bytes)) {
    const { chunk, wire } = packChunk(Buffer.from(piece), key === undefined ? undefined : { key, index: 0 });
    const shard = path.join(store, chunk.hash.slice(0, 2));
    await mkdir(shard, { recursive: true });
    await writeFile(path.join(shard, chunk.hash), wire);
    chunks.push(chunk);
  }
  const size = bytes.length;
  const files = [{ path: FILE, size, mode: 0o644 as const, sha256: sha256(bytes), chunks }];
  const encryption = key === undefined ? {} : { encryption: { keys: [contentKeyId(key)] } };
  await writeFile(manifest, printManifest({ format: 1, application: APPLICATION, version: '1.0.0', size, hooks: {}, ...encryption, files, links: [] }));
  return { store, manifest };
}
