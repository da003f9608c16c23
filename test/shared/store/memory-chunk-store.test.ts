import { expect, it } from 'vitest';
import { MemoryChunkStore } from '../../../shared/store/memory-chunk-store.ts';
import { chunkOf } from '../../contract/chunk-source.contract.ts';
import { chunkStoreContract } from '../../contract/chunk-store.contract.ts';

chunkStoreContract('MemoryChunkStore', async () => new MemoryChunkStore());

it('counts its bytes', async () => {
  const store = new MemoryChunkStore();
  const { hash, bytes } = chunkOf(100);
  await store.put(hash, bytes);
  await store.put(hash, bytes);
  expect(store.bytes).toBe(100);
  await store.delete(hash);
  expect(store.bytes).toBe(0);
});
