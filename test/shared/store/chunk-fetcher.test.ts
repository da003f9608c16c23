import { describe, expect, it } from 'vitest';
import { isWardcastError } from '../../../shared/base/errors.ts';
import { FETCH_CONCURRENCY } from '../../../shared/base/limits.ts';
import { fetchOneByOne } from '../../../shared/store/chunk-fetcher.ts';
import type { ChunkSource } from '../../../shared/store/chunk-source.ts';
import { MemoryChunkStore } from '../../../shared/store/memory-chunk-store.ts';
import { chunkOf } from '../../contract/chunk-source.contract.ts';

const chunks = Array.from({ length: 3 * FETCH_CONCURRENCY }, () => chunkOf(10));
const wanted = new Map(chunks.map(({ hash, bytes }) => [hash, bytes.length]));

async function store(): Promise<MemoryChunkStore> {
  const all = new MemoryChunkStore();
  for (const { hash, bytes } of chunks) await all.put(hash, bytes);
  return all;
}

describe('fetching one by one', () => {
  it('delivers every wanted chunk exactly once, and nothing else', async () => {
    const some = new Map([...wanted].slice(0, 300));
    const got: string[] = [];
    await fetchOneByOne(await store(), 'gateway').fetch(some, async (hash, bytes, from) => {
      expect([bytes.length, from]).toEqual([some.get(hash), 'gateway']);
      got.push(hash);
    });
    expect(got.sort()).toEqual([...some.keys()].sort());
  });

  it('never has more under way than its limit while nobody takes what it delivers', async () => {
    const full = Promise.withResolvers<void>();
    const taken: (() => void)[] = [];
    let most = 0;
    const fetching = fetchOneByOne(await store(), 'gateway').fetch(wanted, async () => {
      const { promise, resolve } = Promise.withResolvers<void>();
      taken.push(resolve);
      most = Math.max(most, taken.length);
      if (taken.length === FETCH_CONCURRENCY) full.resolve();
      await promise;
    });
    await full.promise;
    await new Promise((tick) => setImmediate(tick));
    expect(taken.length).toBe(FETCH_CONCURRENCY);
    let delivered = 0;
    while (delivered < wanted.size) {
      for (const take of taken.splice(0)) {
        delivered += 1;
        take();
      }
      await new Promise((tick) => setImmediate(tick));
    }
    await fetching;
    expect(most).toBe(FETCH_CONCURRENCY);
  });

  it('rejects with the first failure, and only when what was under way has ended', async () => {
    const all = await store();
    const [bad = ''] = wanted.keys();
    await all.delete(bad);
    let running = 0;
    let begun = 0;
    const fetching = fetchOneByOne(all, 'gateway').fetch(wanted, async () => {
      begun += 1;
      running += 1;
      await new Promise((tick) => setTimeout(tick, 5));
      running -= 1;
    });
    await expect(fetching).rejects.toSatisfy((error) => isWardcastError(error, 'OBJECT_ABSENT'));
    expect(running).toBe(0);
    expect(begun).toBeLessThan(wanted.size);
  });

  it('ends with what the taker says', async () => {
    const full = new Error('full');
    await expect(fetchOneByOne(await store(), 'gateway').fetch(wanted, () => Promise.reject(full))).rejects.toBe(full);
  });

  it('stops when its signal is aborted, and tells the source', async () => {
    const stop = new AbortController();
    const source: ChunkSource = {
      has: async () => true,
      get: (_hash, { signal } = {}) => new Promise((_resolve, reject) => signal?.addEventListener('abort', () => reject(signal.reason))),
    };
    const fetching = fetchOneByOne(source, 'gateway').fetch(wanted, async () => undefined, { signal: stop.signal });
    stop.abort(new Error('enough'));
    await expect(fetching).rejects.toThrow('enough');
  });
});
