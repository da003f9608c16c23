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
  object: async (hash: string) => Buffer.from(hash),
};

/** A provider that loses what it is sent until it was sent `stubborn` times. */
class Provider implements Publisher {
  readonly got: string[] = [];
  readonly missing: string[];
  readonly #stubborn: number;
  #rounds = 0;

  constructor(missing: string[], stubborn = 1) {
    this.missing = missing;
    this.#stubborn = stubborn;
  }

  async offer(): Promise<{ missing: string[] }> {
    return { missing: this.missing };
  }

  async publish(): Promise<{ missing: string[]; release: typeof row | null }> {
    this.#rounds++;
    return this.#rounds >= this.#stubborn ? { missing: [], release: row } : { missing: this.missing.slice(0, 1), release: null };
  }

  async upload(hash: string): Promise<void> {
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

it('sends again what the provider still lacks, and gives up on one that never stores it', async () => {
  const forgetful = new Provider(['x', 'y'], 2);
  await publishRelease(forgetful, release);
  expect(forgetful.got).toEqual(['x', 'y', 'x']);
  await expect(publishRelease(new Provider(['x'], 99), release)).rejects.toMatchObject({ code: 'CONFLICT' });
});

it('stops when it is aborted', async () => {
  await expect(publishRelease(new Provider(['x']), release, { signal: AbortSignal.abort() })).rejects.toThrow();
});
