import { mkdir, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { OwnFirst } from '../../../agent/fetch/own-first.ts';
import { OwnReleases } from '../../../agent/fetch/own-releases.ts';
import { WardcastError } from '../../../shared/base/errors.ts';
import { type ChunkFetcher, fetchOneByOne } from '../../../shared/store/chunk-fetcher.ts';
import type { ChunkSource } from '../../../shared/store/chunk-source.ts';
import { MemoryChunkStore } from '../../../shared/store/memory-chunk-store.ts';
import { sourceOf } from '../../contract/install-handler.contract.ts';
import { bytesOf } from '../../support/files.ts';
import { madeRelease } from '../../support/made-release.ts';
import { temporaryDirectory } from '../../support/temporary-directory.ts';

const made = madeRelease({ files: { a: bytesOf('a', 300_000), b: bytesOf('b', 300_000) } });
const wanted = new Map([...made.chunks].map(([hash, bytes]) => [hash, bytes.length]));
const total = [...wanted.values()].reduce((sum, size) => sum + size, 0);

/** The others, and what they were asked for in each call. */
function others(source: ChunkSource): { rest: ChunkFetcher; calls: string[][] } {
  const calls: string[][] = [];
  const inner = fetchOneByOne(source, 'gateway');
  const rest: ChunkFetcher = {
    fetch: (left, deliver, options) => {
      calls.push([...left.keys()]);
      return inner.fetch(left, deliver, options);
    },
  };
  return { calls, rest };
}

async function installed(): Promise<{ directory: string; own: OwnReleases }> {
  const directory = await temporaryDirectory();
  for (const [path, bytes] of made.contents) {
    await mkdir(dirname(join(directory, path)), { recursive: true });
    await writeFile(join(directory, path), bytes);
  }
  return { directory, own: new OwnReleases([{ manifestHash: made.manifestHash, manifest: made.manifest, directory }]) };
}

describe('own releases first', () => {
  it('deliver what they hold and leave the rest to others in one go, counted by where it came from', async () => {
    const [first = '', second = ''] = made.chunks.keys();
    const own = await sourceOf({ chunks: new Map([...made.chunks].filter(([hash]) => hash === first || hash === second)) });
    const { rest, calls } = others(await sourceOf(made));
    const fetcher = new OwnFirst(own, rest);
    const got = new Map<string, Buffer>();
    await fetcher.fetch(wanted, async (hash, bytes) => void got.set(hash, bytes));
    expect(got.size).toBe(made.chunks.size);
    for (const [hash, bytes] of made.chunks) expect(got.get(hash)?.equals(bytes)).toBe(true);
    expect(calls).toEqual([[...wanted.keys()].filter((hash) => hash !== first && hash !== second)]);
    const mine = (wanted.get(first) ?? 0) + (wanted.get(second) ?? 0);
    expect(fetcher.bytes()).toEqual({ own: mine, peer: 0, gateway: total - mine, patch: 0 });
  });

  it('ask nobody when they hold all', async () => {
    const { rest, calls } = others(new MemoryChunkStore());
    await new OwnFirst((await installed()).own, rest).fetch(wanted, async () => undefined);
    expect(calls).toEqual([]);
  });

  it('cost a fetch where they are damaged, and that alone', async () => {
    const { directory, own } = await installed();
    await writeFile(join(directory, 'a'), Buffer.alloc(300_000));
    const { rest, calls } = others(await sourceOf(made));
    const got: string[] = [];
    await new OwnFirst(own, rest).fetch(wanted, async (hash) => void got.push(hash));
    const inA = made.manifest.files.find((file) => file.path === 'a')?.chunks ?? [];
    expect(calls.map((hashes) => hashes.toSorted())).toEqual([inA.map((chunk) => chunk.hash).toSorted()]);
    expect(got.toSorted()).toEqual([...wanted.keys()].toSorted());
  });

  it('do not take a chunk that cannot be written for one that is damaged', async () => {
    const { rest, calls } = others(await sourceOf(made));
    const full = new WardcastError('SPACE_SHORT', 'full');
    await expect(new OwnFirst(await sourceOf(made), rest).fetch(wanted, () => Promise.reject(full))).rejects.toBe(full);
    expect(calls).toEqual([]);
  });

  it('stop when their signal is aborted, and ask nobody any more', async () => {
    const { rest, calls } = others(await sourceOf(made));
    const signal = AbortSignal.abort(new Error('enough'));
    await expect(new OwnFirst(await sourceOf(made), rest).fetch(wanted, async () => undefined, { signal })).rejects.toThrow('enough');
    expect(calls).toEqual([]);
  });
});
