import { describe, expect, it } from 'vitest';
import { OwnFirst } from '../../../agent/fetch/own-first.ts';
import { withFallback } from '../../../agent/fetch/with-fallback.ts';
import { isWardcastError, WardcastError } from '../../../shared/base/errors.ts';
import { FETCH_CONCURRENCY } from '../../../shared/base/limits.ts';
import { silentLog } from '../../../shared/base/log.ts';
import { type ChunkFetcher, type ChunkOrigin, fetchOneByOne } from '../../../shared/store/chunk-fetcher.ts';
import { sourceOf } from '../../contract/install-handler.contract.ts';
import { bytesOf } from '../../support/files.ts';
import { madeRelease } from '../../support/made-release.ts';

const made = madeRelease({ files: { a: bytesOf('a', 600_000), b: bytesOf('b', 600_000) } });
const wanted = new Map([...made.chunks].map(([hash, bytes]) => [hash, bytes.length]));
const pick = (hashes: readonly string[]) => ({ chunks: new Map(hashes.map((hash) => [hash, made.chunks.get(hash) ?? Buffer.alloc(0)])) });
const sizeOf = (hashes: readonly string[]): number => hashes.reduce((sum, hash) => sum + (wanted.get(hash) ?? 0), 0);
const names = Array.from({ length: FETCH_CONCURRENCY * 3 }, (_, index) => index.toString(16).padStart(64, '0'));

function collector() {
  const came = new Map<string, ChunkOrigin>();
  const deliver = async (hash: string, _bytes: Buffer, from: ChunkOrigin): Promise<void> => {
    expect(came.has(hash)).toBe(false);
    came.set(hash, from);
  };
  return { came, deliver };
}

describe('fetching one by one', () => {
  it('asks for no more than it can deliver', async () => {
    let under = 0;
    let most = 0;
    const source = { has: async () => true, get: async () => Buffer.from([++under]) };
    const deliver = async (): Promise<void> => {
      most = Math.max(most, under);
      await new Promise(setImmediate);
      under -= 1;
    };
    await fetchOneByOne(source, 'gateway').fetch(new Map(names.map((name) => [name, 1])), deliver);
    expect(most).toBeLessThanOrEqual(FETCH_CONCURRENCY);
  });

  it('ends with the first failure, stops the others, and delivers nothing afterwards', async () => {
    let ended = false;
    let late = 0;
    let stopped = 0;
    const source = {
      has: async () => true,
      get: async (hash: string, { signal }: { signal?: AbortSignal | undefined } = {}): Promise<Buffer> => {
        if (hash === names[3]) throw new WardcastError('OBJECT_ABSENT', 'the cause');
        await new Promise<void>((resolve) => signal?.addEventListener('abort', () => resolve()));
        stopped += 1;
        throw new WardcastError('ABORTED', 'a consequence');
      },
    };
    const deliver = async (): Promise<void> => {
      if (ended) late += 1;
    };
    await expect(fetchOneByOne(source, 'gateway').fetch(new Map(names.map((name) => [name, 1])), deliver)).rejects.toSatisfy((error) =>
      isWardcastError(error, 'OBJECT_ABSENT'),
    );
    ended = true;
    await new Promise(setImmediate);
    expect(late).toBe(0);
    expect(stopped).toBeLessThan(FETCH_CONCURRENCY);
  });

  it('ends with what deliver threw', async () => {
    const fetcher = fetchOneByOne(await sourceOf(made), 'gateway');
    await expect(fetcher.fetch(wanted, () => Promise.reject(new Error('disk full')))).rejects.toThrow('disk full');
  });
});

describe('own first', () => {
  it('takes what is here from here, the rest from the others in one go, and counts the bytes', async () => {
    const hashes = [...wanted.keys()];
    const [here, there] = [hashes.slice(0, 3), hashes.slice(3)];
    const asked: string[][] = [];
    const rest: ChunkFetcher = {
      async fetch(left, deliver) {
        asked.push([...left.keys()]);
        for (const [at, hash] of [...left.keys()].entries()) await deliver(hash, made.chunks.get(hash) ?? Buffer.alloc(0), at === 0 ? 'gateway' : 'peer');
      },
    };
    const first = new OwnFirst(await sourceOf(pick(here)), rest);
    const { came, deliver } = collector();
    await first.fetch(wanted, deliver);
    expect(came.size).toBe(wanted.size);
    expect(asked).toEqual([there]);
    expect(first.bytes()).toEqual({ own: sizeOf(here), gateway: sizeOf(there.slice(0, 1)), peer: sizeOf(there.slice(1)), patch: 0 });
  });

  it('fetches what an old release no longer holds as it should', async () => {
    const [damaged = ''] = wanted.keys();
    const good = await sourceOf(made);
    const own = {
      has: async () => true,
      get: (hash: string): Promise<Buffer> => (hash === damaged ? Promise.reject(new WardcastError('HASH_MISMATCH', 'damaged')) : good.get(hash)),
    };
    const first = new OwnFirst(own, fetchOneByOne(good, 'gateway'));
    const { came, deliver } = collector();
    await first.fetch(wanted, deliver);
    expect([...came].filter(([, from]) => from !== 'own')).toEqual([[damaged, 'gateway']]);
  });

  it('asks nobody when everything is here', async () => {
    const first = new OwnFirst(await sourceOf(made), { fetch: () => Promise.reject(new Error('asked')) });
    await first.fetch(wanted, collector().deliver);
    expect(first.bytes()).toEqual({ own: sizeOf([...wanted.keys()]), peer: 0, gateway: 0, patch: 0 });
  });
});

describe('the fall-back', () => {
  const failing = (after: number, error: Error): ChunkFetcher => ({
    async fetch(all, deliver) {
      for (const hash of [...all.keys()].slice(0, after)) await deliver(hash, made.chunks.get(hash) ?? Buffer.alloc(0), 'peer');
      throw error;
    },
  });

  it('is asked only for what is left when nobody can be reached any more', async () => {
    const asked: string[] = [];
    const second: ChunkFetcher = {
      async fetch(left, deliver) {
        asked.push(...left.keys());
        for (const hash of left.keys()) await deliver(hash, made.chunks.get(hash) ?? Buffer.alloc(0), 'gateway');
      },
    };
    const { came, deliver } = collector();
    await withFallback(failing(2, new WardcastError('CONNECTION_LOST', 'gone')), second, silentLog).fetch(wanted, deliver);
    expect(asked).toEqual([...wanted.keys()].slice(2));
    expect(came.size).toBe(wanted.size);
  });

  it('is not asked about what it cannot mend, nor after an abort', async () => {
    const second: ChunkFetcher = { fetch: () => Promise.reject(new Error('asked')) };
    const { deliver } = collector();
    await expect(withFallback(failing(0, new WardcastError('SPACE_SHORT', 'full')), second, silentLog).fetch(wanted, deliver)).rejects.toSatisfy((error) =>
      isWardcastError(error, 'SPACE_SHORT'),
    );
    const signal = AbortSignal.abort(new Error('enough'));
    const lost = failing(0, new WardcastError('CONNECTION_LOST', 'gone'));
    await expect(withFallback(lost, second, silentLog).fetch(wanted, deliver, { signal })).rejects.toThrow('enough');
  });
});
