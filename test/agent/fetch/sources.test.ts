import { mkdir, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { GatewaySlot } from '../../../agent/fetch/gateway-slot.ts';
import { MetadataFailover } from '../../../agent/fetch/metadata-failover.ts';
import { OwnReleases } from '../../../agent/fetch/own-releases.ts';
import { isWardcastError } from '../../../shared/base/errors.ts';
import { sha256 } from '../../../shared/bundle/digest.ts';
import type { Manifest } from '../../../shared/bundle/manifest.ts';
import { MemoryChunkStore } from '../../../shared/store/memory-chunk-store.ts';
import { chunkSourceContract } from '../../contract/chunk-source.contract.ts';
import { bytesOf } from '../../support/files.ts';
import { type MadeRelease, madeRelease } from '../../support/made-release.ts';
import { temporaryDirectory } from '../../support/temporary-directory.ts';

type Chunks = readonly { hash: string; bytes: Buffer }[];

async function filled(chunks: Chunks): Promise<MemoryChunkStore> {
  const store = new MemoryChunkStore();
  for (const { hash, bytes } of chunks) await store.put(hash, bytes);
  return store;
}

/** Two chunks to a file. */
async function onDisk(chunks: Chunks): Promise<OwnReleases> {
  const directory = await temporaryDirectory();
  const files: Manifest['files'][number][] = [];
  for (let i = 0; i < chunks.length; i += 2) {
    const parts = chunks.slice(i, i + 2);
    const bytes = Buffer.concat(parts.map((part) => part.bytes));
    await writeFile(join(directory, `f${i}`), bytes);
    files.push({
      path: `f${i}`,
      size: bytes.length,
      mode: 0o644,
      sha256: sha256(bytes),
      chunks: parts.map((part) => ({ hash: part.hash, size: part.bytes.length })),
    });
  }
  return new OwnReleases([
    { manifestHash: '0'.repeat(64), directory, manifest: { format: 1, application: 'a', version: '1.0.0', size: 0, hooks: {}, files, links: [] } },
  ]);
}

chunkSourceContract('OwnReleases', onDisk);
chunkSourceContract('GatewaySlot', async (chunks) => {
  const slot = new GatewaySlot();
  slot.connect([new MemoryChunkStore(), await filled(chunks)]);
  return slot;
});

const made = madeRelease({ files: { a: bytesOf('a', 300_000), b: bytesOf('b', 300_000) } });

async function written(release: MadeRelease): Promise<string> {
  const directory = await temporaryDirectory();
  for (const [path, bytes] of release.contents) {
    await mkdir(dirname(join(directory, path)), { recursive: true });
    await writeFile(join(directory, path), bytes);
  }
  return directory;
}

describe('own releases', () => {
  it('give every chunk of a tree, and none of a file that changed', async () => {
    const directory = await written(made);
    const tree = { manifestHash: made.manifestHash, manifest: made.manifest, directory };
    const own = new OwnReleases([tree]);
    for (const [hash, bytes] of made.chunks) expect((await own.get(hash)).equals(bytes)).toBe(true);
    await writeFile(join(directory, 'a'), Buffer.alloc(300_000));
    const [inA = ''] = made.manifest.files[0]?.chunks.map((chunk) => chunk.hash) ?? [];
    await expect(own.get(inA)).rejects.toSatisfy((error) => isWardcastError(error, 'HASH_MISMATCH'));
    expect(await own.has(inA)).toBe(false);
  });

  it('take a file that is gone or cut short for absent or damaged, never for good', async () => {
    const own = new OwnReleases([{ manifestHash: made.manifestHash, manifest: made.manifest, directory: await temporaryDirectory() }]);
    for (const hash of made.chunks.keys()) await expect(own.get(hash)).rejects.toSatisfy((error) => isWardcastError(error, 'OBJECT_ABSENT'));
  });
});

describe('failover', () => {
  it('of metadata takes "there is none" for an answer, and a broken source for none', async () => {
    const broken = { metadata: () => Promise.reject(new Error('broken')), target: () => Promise.reject(new Error('broken')) };
    const none = { metadata: async () => undefined, target: async () => undefined };
    const full = { metadata: async () => Buffer.from('m'), target: async () => Buffer.from('t') };
    expect(await new MetadataFailover([none, full]).metadata('x', { maxBytes: 1 })).toBeUndefined();
    expect(await new MetadataFailover([broken, full]).target('x', { maxBytes: 1 })).toEqual(Buffer.from('t'));
    await expect(new MetadataFailover([broken]).metadata('x', { maxBytes: 1 })).rejects.toThrow('broken');
  });

  it('without a gateway says that the connection is gone, which passes', async () => {
    await expect(new GatewaySlot().get('0'.repeat(64))).rejects.toSatisfy((e) => isWardcastError(e, 'CONNECTION_LOST'));
  });
});
