import { expect, it } from 'vitest';
import { type Publisher, publishRelease } from '../../cli/publish.ts';

const row = {
  application: 'viewer',
  version: '1.0.0',
  manifest: 'a'.repeat(64),
  size: 1,
  files: 1,
  chunks: 1,
  publishedAt: '2026-01-01T00:00:00.000Z',
  withdrawn: null,
};
const release = {
  application: 'viewer',
  version: '1.0.0',
  manifest: 'a'.repeat(64),
  role: Buffer.from('role'),
  contentKeys: [],
  object: async (hash: string) => Buffer.from(hash),
};

type Answer = Awaited<ReturnType<Publisher['offer']>>;

/** A provider that names at most `names` objects at a time, and the first time loses what is in `loses`. */
class Provider implements Publisher {
  readonly got: string[] = [];
  readonly #lacks: Set<string>;
  readonly #loses: Set<string>;
  readonly #names: number;

  constructor(lacks: readonly string[], { names = 1000, loses = [] }: { names?: number; loses?: readonly string[] } = {}) {
    this.#lacks = new Set(lacks);
    this.#names = names;
    this.#loses = new Set(loses);
  }

  async offer(): Promise<Answer> {
    const missing = [...this.#lacks].slice(0, this.#names);
    return { missing, more: this.#lacks.size - missing.length };
  }

  async publish(): Promise<Answer & { release: typeof row | null }> {
    return { ...(await this.offer()), release: this.#lacks.size === 0 ? row : null };
  }

  async upload(hash: string): Promise<void> {
    this.got.push(hash);
    if (!this.#loses.delete(hash)) this.#lacks.delete(hash);
  }
}

/** One that has room for nothing. */
class Full extends Provider {
  override async upload(hash: string): Promise<void> {
    this.got.push(hash);
  }
}

it('uploads what is missing, once, and tells how far it is', async () => {
  const provider = new Provider(['x', 'y', 'z']);
  const told: string[] = [];
  expect(await publishRelease(provider, release, { onProgress: (done, total) => told.push(`${done}/${total}`) })).toEqual(row);
  expect(provider.got).toEqual(['x', 'y', 'z']);
  expect(told).toEqual(['1/3', '2/3', '3/3']);
});

it('uploads nothing when the provider has everything', async () => {
  const provider = new Provider([]);
  await publishRelease(provider, release);
  expect(provider.got).toEqual([]);
});

it('goes on for as many rounds as the provider needs to name everything, and counts on', async () => {
  const objects = Array.from({ length: 95 }, (_, at) => `object-${at}`);
  const provider = new Provider(objects, { names: 10, loses: ['object-7', 'object-90'] });
  const told: string[] = [];
  expect(await publishRelease(provider, release, { onProgress: (done, total) => told.push(`${done}/${total}`) })).toEqual(row);
  expect(provider.got.length).toBe(97);
  expect(new Set(provider.got)).toEqual(new Set(objects));
  expect(new Set(told.map((text) => text.split('/')[1]))).toEqual(new Set(['95']));
  expect(told.at(-1)).toBe('95/95');
});

it('says nothing about how far it is while only the manifest is on its way', async () => {
  const told: number[] = [];
  await publishRelease(new Provider([release.manifest, 'x'], { names: 1 }), release, { onProgress: (done) => told.push(done) });
  expect(told).toEqual([1]);
});

it('sends again what the provider still lacks, and gives up on one that never stores it', async () => {
  const forgetful = new Provider(['x', 'y'], { loses: ['x'] });
  await publishRelease(forgetful, release);
  expect(forgetful.got).toEqual(['x', 'y', 'x']);
  const full = new Full(['x', 'y']);
  await expect(publishRelease(full, release)).rejects.toMatchObject({ code: 'CONFLICT' });
  expect(full.got).toEqual(['x', 'y', 'x', 'y', 'x', 'y']);
});

it('stops when it is aborted', async () => {
  await expect(publishRelease(new Provider(['x']), release, { signal: AbortSignal.abort() })).rejects.toThrow();
});
