import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { type Disk, realDisk } from '../../../agent/handlers/disk.ts';
import type { StagedChunks } from '../../../agent/handlers/install-handler.ts';
import { buildTree } from '../../../agent/handlers/staging.ts';
import { isWardcastError } from '../../../shared/base/errors.ts';
import { STAGE_CONCURRENCY, STAGE_OPEN_FILES } from '../../../shared/base/limits.ts';
import { sha256 } from '../../../shared/bundle/digest.ts';
import type { ChunkFetcher } from '../../../shared/store/chunk-fetcher.ts';
import { digests, fetcherOf } from '../../contract/install-handler.contract.ts';
import { bytesOf } from '../../support/files.ts';
import { type MadeRelease, madeRelease } from '../../support/made-release.ts';
import { Fuse, fusedDisk } from '../../support/power-cut.ts';
import { temporaryDirectory } from '../../support/temporary-directory.ts';
import { readTree } from '../../support/tree.ts';

const twice = bytesOf('twice', 500_000);
const release = madeRelease({
  files: { 'a/first': twice, 'b/second': twice, 'b/more': bytesOf('more', 400_000), VERSION: '1', empty: '', 'bin/run.sh': '#!/bin/sh\n' },
  links: { now: 'a' },
});

/** Delivers in this order, one after the other, or all at once. */
function inOrder(made: MadeRelease, order: (hashes: string[]) => string[], atOnce = false, asked: string[] = []): ChunkFetcher {
  return {
    async fetch(wanted, deliver) {
      const hashes = order([...wanted.keys()]);
      asked.push(...hashes);
      const bring = (hash: string): Promise<void> => deliver(hash, Buffer.from(made.chunks.get(hash) ?? ''), 'peer');
      if (atOnce) await Promise.all(hashes.map(bring));
      else for (const hash of hashes) await bring(hash);
    },
  };
}

async function stage(made: MadeRelease, chunks: ChunkFetcher, more: { directory?: string; disk?: Disk; onStaged?: (tree: StagedChunks) => void } = {}) {
  const directory = more.directory ?? join(await temporaryDirectory(), 'tree');
  await buildTree({ disk: realDisk, manifest: made.manifest, chunks, ...more, directory });
  return directory;
}

const whole = async (directory: string, made: MadeRelease): Promise<void> => expect(digests(await readTree(directory))).toEqual(digests(made.contents));

describe('staging', () => {
  it('gives the same tree in whatever order chunks come', async () => {
    await whole(
      await stage(
        release,
        inOrder(release, (hashes) => hashes.toReversed()),
      ),
      release,
    );
    const count = release.chunks.size;
    await fc.assert(
      fc.asyncProperty(fc.array(fc.nat(), { minLength: count, maxLength: count }), fc.boolean(), async (keys, atOnce) => {
        const shuffle = (hashes: string[]): string[] =>
          hashes
            .map((hash, at) => [keys[at] ?? 0, hash] as const)
            .sort(([a], [b]) => a - b)
            .map(([, hash]) => hash);
        await whole(await stage(release, inOrder(release, shuffle, atOnce)), release);
      }),
      { numRuns: 15 },
    );
  });

  it('asks once for a chunk that has several places, and copies what stands elsewhere', async () => {
    const asked: string[] = [];
    const directory = await stage(
      release,
      inOrder(release, (hashes) => hashes, false, asked),
    );
    expect(asked.length).toBe(release.chunks.size);
    expect(new Set(asked).size).toBe(asked.length);
    await writeFile(join(directory, 'b/second'), Buffer.alloc(500_000));
    await stage(
      release,
      inOrder(release, (hashes) => hashes, false, asked),
      { directory },
    );
    expect(asked.length).toBe(release.chunks.size);
    await whole(directory, release);
  });

  it('shows what stands while it goes on, and nothing afterwards', async () => {
    let tree: StagedChunks | undefined;
    const seen: string[] = [];
    const chunks: ChunkFetcher = {
      async fetch(wanted, deliver) {
        for (const hash of wanted.keys()) {
          expect(tree?.has(hash)).toBe(false);
          expect(await tree?.read(hash)).toBeUndefined();
          await deliver(hash, Buffer.from(release.chunks.get(hash) ?? ''), 'gateway');
          expect(tree?.has(hash)).toBe(true);
          expect(sha256((await tree?.read(hash)) ?? Buffer.alloc(0))).toBe(hash);
          seen.push(hash);
        }
      },
    };
    const directory = await stage(release, chunks, { onStaged: (staged) => (tree = staged) });
    expect(seen.length).toBe(release.chunks.size);
    expect(seen.map((hash) => tree?.has(hash))).toEqual(seen.map(() => false));
    expect(await tree?.read(seen[0] ?? '')).toBeUndefined();
    await whole(directory, release);
  });

  it('does not show what was damaged meanwhile', async () => {
    let tree: StagedChunks | undefined;
    const directory = join(await temporaryDirectory(), 'tree');
    const chunks: ChunkFetcher = {
      async fetch(wanted, deliver) {
        const [hash = ''] = wanted.keys();
        await deliver(hash, Buffer.from(release.chunks.get(hash) ?? ''), 'gateway');
        for (const name of ['a/first', 'b/second', 'b/more', 'VERSION', 'bin/run.sh']) await writeFile(join(directory, name), 'damaged');
        expect(await tree?.read(hash)).toBeUndefined();
        throw new Error('enough');
      },
    };
    await expect(stage(release, chunks, { directory, onStaged: (staged) => (tree = staged) })).rejects.toThrow('enough');
    await stage(release, await fetcherOf(release), { directory });
    await whole(directory, release);
  });

  it('believes no fetcher: wrong bytes, wrong sizes, chunks that never come', async () => {
    const lies: ((bytes: Buffer) => Buffer)[] = [(bytes) => Buffer.from(bytes).fill(7, 0, 1), (bytes) => bytes.subarray(1)];
    for (const lie of lies) {
      const liar: ChunkFetcher = {
        async fetch(wanted, deliver) {
          for (const hash of wanted.keys()) await deliver(hash, lie(Buffer.from(release.chunks.get(hash) ?? '')), 'peer');
        },
      };
      await expect(stage(release, liar)).rejects.toSatisfy((error) => isWardcastError(error, 'HASH_MISMATCH'));
    }
    await expect(stage(release, { fetch: async () => undefined })).rejects.toSatisfy((error) => isWardcastError(error, 'OBJECT_ABSENT'));
  });

  it('goes on after a power cut right before or right after any disk step', async () => {
    const small = madeRelease({ files: { 'a/first': bytesOf('x', 200_000), 'b/second': bytesOf('x', 200_000), VERSION: '1', empty: '' }, links: { now: 'a' } });
    const counting = new Fuse();
    await stage(small, await fetcherOf(small), { disk: fusedDisk(realDisk, counting) });
    expect(counting.steps.length).toBeGreaterThan(20);
    for (let at = 0; at < counting.steps.length; at++) {
      for (const after of [false, true]) {
        const fuse = new Fuse(at, { after });
        const directory = join(await temporaryDirectory(), 'tree');
        // Steps of several files run at once: their number varies a little from run to run.
        await stage(small, await fetcherOf(small), { directory, disk: fusedDisk(realDisk, fuse) }).catch((error: unknown) => {
          if (!fuse.dead) throw error;
        });
        await stage(small, await fetcherOf(small), { directory });
        await whole(directory, small);
      }
    }
  });

  it('keeps few files open, however many there are', async () => {
    const files = Object.fromEntries(Array.from({ length: 5000 }, (_, index) => [`d${index % 50}/f${index}`, `content ${index}`]));
    const many = madeRelease({ files });
    let open = 0;
    let most = 0;
    const counting = new Proxy<Disk>(realDisk, {
      get(disk, name) {
        if (name !== 'open') return Reflect.get(disk, name);
        return async (...args: Parameters<Disk['open']>) => {
          const handle = await disk.open(...args);
          open += 1;
          most = Math.max(most, open);
          const close = handle.close.bind(handle);
          handle.close = async () => {
            open -= 1;
            await close();
          };
          return handle;
        };
      },
    });
    await whole(
      await stage(
        many,
        inOrder(many, (hashes) => hashes.toReversed(), true),
        { disk: counting },
      ),
      many,
    );
    expect(open).toBe(0);
    expect(most).toBeLessThanOrEqual(STAGE_OPEN_FILES + STAGE_CONCURRENCY);
  });
});
