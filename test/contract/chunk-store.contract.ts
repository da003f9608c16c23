import { describe, expect, it } from 'vitest';
import { isWardcastError } from '../../shared/base/errors.ts';
import type { ChunkStore } from '../../shared/store/chunk-source.ts';
import { chunkOf, chunkSourceContract } from './chunk-source.contract.ts';

async function listed(store: ChunkStore): Promise<Map<string, number>> {
  const found = new Map<string, number>();
  for await (const { hash, size } of store.list()) found.set(hash, size);
  return found;
}

/** What every ChunkStore keeps to, beyond what every ChunkSource does. */
export function chunkStoreContract(name: string, make: () => Promise<ChunkStore>): void {
  chunkSourceContract(name, async (chunks) => {
    const store = await make();
    await Promise.all(chunks.map(({ hash, bytes }) => store.put(hash, bytes)));
    return store;
  });

  describe(`${name} is a ChunkStore that`, () => {
    it('refuses content under a name that is not its hash', async () => {
      const store = await make();
      const { hash } = chunkOf();
      await expect(store.put(hash, Buffer.from('something else'))).rejects.toSatisfy((error) => isWardcastError(error, 'HASH_MISMATCH'));
      expect(await store.has(hash)).toBe(false);
    });

    it('takes the same chunk again and again, also at once', async () => {
      const store = await make();
      const { hash, bytes } = chunkOf();
      await Promise.all(Array.from({ length: 20 }, () => store.put(hash, bytes)));
      await store.put(hash, bytes);
      expect(await listed(store)).toEqual(new Map([[hash, bytes.length]]));
    });

    it('forgets what is deleted, as often as it is told', async () => {
      const store = await make();
      const { hash, bytes } = chunkOf();
      await store.put(hash, bytes);
      await store.delete(hash);
      await store.delete(hash);
      expect(await store.has(hash)).toBe(false);
      await expect(store.get(hash)).rejects.toSatisfy((error) => isWardcastError(error, 'OBJECT_ABSENT'));
      expect((await listed(store)).size).toBe(0);
    });

    it('holds a chunk that is put right after its deletion began', async () => {
      const store = await make();
      const { hash, bytes } = chunkOf();
      await store.put(hash, bytes);
      await Promise.all([store.delete(hash), store.put(hash, bytes)]);
      if (!(await store.has(hash))) await store.put(hash, bytes);
      expect((await store.get(hash)).equals(bytes)).toBe(true);
    });

    it('lists every chunk with its size', async () => {
      const store = await make();
      const chunks = Array.from({ length: 300 }, (_, index) => chunkOf(index + 1));
      await Promise.all(chunks.map(({ hash, bytes }) => store.put(hash, bytes)));
      expect(await listed(store)).toEqual(new Map(chunks.map(({ hash, bytes }) => [hash, bytes.length])));
    });

    it('keeps what it was given although the caller reuses its buffer', async () => {
      const store = await make();
      const { hash, bytes } = chunkOf();
      await store.put(hash, bytes);
      const copy = Buffer.from(bytes);
      bytes.fill(0);
      expect((await store.get(hash)).equals(copy)).toBe(true);
    });
  });
}
