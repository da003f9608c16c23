import { mkdir, readdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { isWardcastError } from '../../../shared/base/errors.ts';
import { DiskChunkStore } from '../../../shared/store/disk-chunk-store.ts';
import { chunkOf } from '../../contract/chunk-source.contract.ts';
import { chunkStoreContract } from '../../contract/chunk-store.contract.ts';
import { temporaryDirectory } from '../../support/temporary-directory.ts';

chunkStoreContract('DiskChunkStore', async () => DiskChunkStore.open(await temporaryDirectory()));

describe('DiskChunkStore', () => {
  it('finds its chunks and their total again after a restart', async () => {
    const directory = await temporaryDirectory();
    const store = await DiskChunkStore.open(directory);
    const chunks = Array.from({ length: 40 }, () => chunkOf(2000));
    await Promise.all(chunks.map(({ hash, bytes }) => store.put(hash, bytes)));
    expect(store.bytes).toBe(80_000);
    const again = await DiskChunkStore.open(directory);
    expect(again.bytes).toBe(80_000);
    expect(again.count).toBe(40);
    for (const { hash, bytes } of chunks) expect((await again.get(hash)).equals(bytes)).toBe(true);
  });

  it('keeps each chunk in a file xx/<hash>', async () => {
    const directory = await temporaryDirectory();
    const store = await DiskChunkStore.open(directory);
    const { hash, bytes } = chunkOf();
    await store.put(hash, bytes);
    expect((await readFile(join(directory, hash.slice(0, 2), hash))).equals(bytes)).toBe(true);
  });

  it('moves a rotten chunk to quarantine, calls it absent and takes it anew', async () => {
    const directory = await temporaryDirectory();
    const store = await DiskChunkStore.open(directory);
    const { hash, bytes } = chunkOf();
    await store.put(hash, bytes);
    const path = join(directory, hash.slice(0, 2), hash);
    await writeFile(path, Buffer.alloc(1000, 7));
    const answers = await Promise.allSettled([store.get(hash), store.get(hash)]);
    for (const answer of answers) expect(answer).toMatchObject({ status: 'rejected', reason: { code: 'OBJECT_ABSENT' } });
    expect(await store.has(hash)).toBe(false);
    expect(store.bytes).toBe(0);
    expect(await readdir(join(directory, 'quarantine'))).toEqual([hash]);
    await store.put(hash, bytes);
    expect((await store.get(hash)).equals(bytes)).toBe(true);
    expect((await DiskChunkStore.open(directory)).count).toBe(1);
  });

  it('notices a chunk that was cut short, also after a restart', async () => {
    const directory = await temporaryDirectory();
    const store = await DiskChunkStore.open(directory);
    const { hash, bytes } = chunkOf();
    await store.put(hash, bytes);
    await writeFile(join(directory, hash.slice(0, 2), hash), bytes.subarray(0, 10));
    const again = await DiskChunkStore.open(directory);
    await expect(again.get(hash)).rejects.toSatisfy((error) => isWardcastError(error, 'OBJECT_ABSENT'));
  });

  it('removes what a crash left half-written', async () => {
    const directory = await temporaryDirectory();
    await mkdir(join(directory, 'ab'));
    await writeFile(join(directory, 'ab', '.abcdef.0123.tmp'), 'half');
    await writeFile(join(directory, 'ab', 'notes.txt'), 'a stray file is left alone');
    const store = await DiskChunkStore.open(directory);
    expect(await readdir(join(directory, 'ab'))).toEqual(['notes.txt']);
    expect(store.count).toBe(0);
  });

  it('says what to do when the directory cannot be used', async () => {
    const directory = await temporaryDirectory();
    await writeFile(join(directory, 'file'), '');
    await expect(DiskChunkStore.open(join(directory, 'file', 'store'))).rejects.toSatisfy((error) => isWardcastError(error, 'STORAGE_FAILED'));
  });

  it('calls a chunk absent that somebody removed behind its back', async () => {
    const directory = await temporaryDirectory();
    const store = await DiskChunkStore.open(directory);
    const { hash, bytes } = chunkOf();
    await store.put(hash, bytes);
    const { rm } = await import('node:fs/promises');
    await rm(join(directory, hash.slice(0, 2), hash));
    await expect(store.get(hash)).rejects.toSatisfy((error) => isWardcastError(error, 'OBJECT_ABSENT'));
    expect(store.bytes).toBe(0);
  });
});
