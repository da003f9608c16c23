import { chmod, mkdir, open, readdir, readFile, stat, unlink, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { type Disk, realDisk } from '../../../agent/handlers/disk.ts';
import type { StagedChunks } from '../../../agent/handlers/install-handler.ts';
import { buildTree, isWhole } from '../../../agent/handlers/staging.ts';
import { isWardcastError, WardcastError } from '../../../shared/base/errors.ts';
import { STAGE_CONCURRENCY, STAGE_OPEN_FILES } from '../../../shared/base/limits.ts';
import type { ChunkFetcher, Deliver } from '../../../shared/store/chunk-fetcher.ts';
import { bytesOf } from '../../support/files.ts';
import { type MadeRelease, madeRelease } from '../../support/made-release.ts';
import { Fuse, fusedDisk } from '../../support/power-cut.ts';
import { seededRandom } from '../../support/random.ts';
import { temporaryDirectory } from '../../support/temporary-directory.ts';
import { hashTree } from '../../support/tree.ts';

const shared = bytesOf('shared', 300_000);
/** Chunks in several files, files of several chunks, of one, of none, and the same small file in many places. */
const made = madeRelease({
  files: {
    'a/whole': shared,
    'b/whole': shared,
    'b/longer': Buffer.concat([shared, bytesOf('end', 100_000)]),
    'c/tiny1': 'tiny',
    'c/tiny2': 'tiny',
    'c/run.sh': '#!/bin/sh\n',
    empty: '',
  },
  links: { now: 'c' },
});
const hashes = [...made.chunks.keys()];
const bytesOfChunk = (release: MadeRelease, hash: string): Buffer => release.chunks.get(hash) ?? Buffer.alloc(0);

/** Delivers in a given order, some at once. */
function inOrder(release: MadeRelease, order: readonly string[], { atOnce = 4, on }: { atOnce?: number; on?: (hash: string) => void } = {}): ChunkFetcher {
  return {
    async fetch(wanted, deliver) {
      const left = order.filter((hash) => wanted.has(hash));
      await Promise.all(
        Array.from({ length: atOnce }, async () => {
          for (let hash = left.shift(); hash !== undefined; hash = left.shift()) {
            on?.(hash);
            await deliver(hash, bytesOfChunk(release, hash), 'peer');
          }
        }),
      );
    },
  };
}

function shuffled<T>(items: readonly T[], random: () => number): T[] {
  return items
    .map((item) => ({ item, at: random() }))
    .sort((a, b) => a.at - b.at)
    .map(({ item }) => item);
}

async function expectWhole(directory: string, release: MadeRelease): Promise<void> {
  expect(await isWhole(realDisk, directory, release.manifest)).toBe(true);
  expect([...(await hashTree(directory))].sort()).toEqual(release.manifest.files.map((file) => [file.path, file.sha256]));
}

describe('staging', () => {
  it('makes the same tree of chunks in any order, each asked for once', async () => {
    await fc.assert(
      fc.asyncProperty(fc.shuffledSubarray(hashes, { minLength: hashes.length }), fc.integer({ min: 1, max: 8 }), async (order, atOnce) => {
        const directory = await temporaryDirectory();
        const got: string[] = [];
        await buildTree({ disk: realDisk, directory, manifest: made.manifest, chunks: inOrder(made, order, { atOnce, on: (hash) => got.push(hash) }) });
        expect(got.sort()).toEqual([...hashes].sort());
        await expectWhole(directory, made);
      }),
      { numRuns: 40 },
    );
  });

  it('takes what stands at another place of the tree instead of fetching it', async () => {
    const directory = await temporaryDirectory();
    const job = { disk: realDisk, directory, manifest: made.manifest };
    await buildTree({ ...job, chunks: inOrder(made, hashes) });
    await unlink(join(directory, 'b/whole'));
    await unlink(join(directory, 'c/tiny2'));
    await chmod(join(directory, 'c/run.sh'), 0o600);
    const missing: number[] = [];
    const nobody: ChunkFetcher = { fetch: () => Promise.reject(new Error('asked')) };
    await buildTree({ ...job, chunks: nobody, onMissing: (bytes) => missing.push(bytes) });
    expect(missing).toEqual([0]);
    await expectWhole(directory, made);
  });

  it('cuts what is too long and fills what is too short', async () => {
    const directory = await temporaryDirectory();
    await mkdir(join(directory, 'c'));
    await writeFile(join(directory, 'empty'), 'not empty');
    await writeFile(join(directory, 'c/tiny1'), 'tiny and more');
    await writeFile(join(directory, 'c/run.sh'), '#!');
    await buildTree({ disk: realDisk, directory, manifest: made.manifest, chunks: inOrder(made, hashes) });
    await expectWhole(directory, made);
  });

  for (const after of [false, true]) {
    it(`goes on after a power cut ${after ? 'right after' : 'right before'} any step, whatever came until then`, async () => {
      const small = madeRelease({ files: { 'a/two': shared.subarray(0, 150_000), 'b/again': shared.subarray(0, 150_000), tiny: 't', empty: '' } });
      const random = seededRandom(after ? 1 : 2);
      const counting = new Fuse();
      const chunks = (): ChunkFetcher => inOrder(small, shuffled([...small.chunks.keys()], random));
      await buildTree({ disk: fusedDisk(realDisk, counting), directory: await temporaryDirectory(), manifest: small.manifest, chunks: chunks() });
      expect(counting.steps.length).toBeGreaterThan(30);
      for (let at = 0; at < counting.steps.length - 3; at++) {
        const directory = await temporaryDirectory();
        const fuse = new Fuse(at, { after });
        await buildTree({ disk: fusedDisk(realDisk, fuse), directory, manifest: small.manifest, chunks: chunks() }).catch(() => undefined);
        expect(fuse.dead, `step ${at} ${counting.steps[at]}`).toBe(true);
        // What was being written when the power went may hold anything.
        for (const entry of await readdir(directory, { recursive: true })) {
          const file = join(directory, entry);
          if (random() < 0.2 && (await stat(file)).isFile()) await writeFile(file, bytesOf('garbage', (await stat(file)).size));
        }
        await buildTree({ disk: realDisk, directory, manifest: small.manifest, chunks: chunks() });
        await expectWhole(directory, small);
      }
    }, 120_000);
  }

  it('lets what is written already be read while the rest is still to come, and nothing once it has ended', async () => {
    const directory = await temporaryDirectory();
    let tree: StagedChunks | undefined;
    const [lost = '', ...others] = hashes;
    const chunks: ChunkFetcher = {
      async fetch(wanted, deliver) {
        expect([...wanted.keys()].some((hash) => tree?.has(hash))).toBe(false);
        expect(await tree?.read(lost)).toBeUndefined();
        for (const hash of [lost, ...others]) {
          const writing = deliver(hash, bytesOfChunk(made, hash), 'gateway');
          // Not before it is written.
          expect(tree?.has(hash)).toBe(false);
          await writing;
          expect(tree?.has(hash)).toBe(true);
          expect((await tree?.read(hash))?.equals(bytesOfChunk(made, hash))).toBe(true);
        }
      },
    };
    await buildTree({ disk: realDisk, directory, manifest: made.manifest, chunks, onStaged: (staged) => (tree = staged) });
    expect(tree?.has(lost)).toBe(false);
    expect(await tree?.read(lost)).toBeUndefined();
  });

  it('gives nobody a chunk that was damaged on the disk meanwhile', async () => {
    const directory = await temporaryDirectory();
    let tree: StagedChunks | undefined;
    const chunks: ChunkFetcher = {
      async fetch(_wanted, deliver) {
        for (const hash of hashes) await deliver(hash, bytesOfChunk(made, hash), 'gateway');
        const tiny = made.manifest.files.find((file) => file.path === 'c/run.sh')?.sha256 ?? '';
        const handle = await open(join(directory, 'c/run.sh'), 'r+');
        await handle.write('X', 0);
        await handle.close();
        expect(tree?.has(tiny)).toBe(true);
        expect(await tree?.read(tiny)).toBeUndefined();
        expect(tree?.has(tiny)).toBe(false);
      },
    };
    await buildTree({ disk: realDisk, directory, manifest: made.manifest, chunks, onStaged: (staged) => (tree = staged) });
  });

  it('says from the start what an earlier attempt left', async () => {
    const directory = await temporaryDirectory();
    const half = hashes.slice(0, 3);
    await expect(buildTree({ disk: realDisk, directory, manifest: made.manifest, chunks: inOrder(made, half) })).rejects.toSatisfy((error) =>
      isWardcastError(error, 'OBJECT_ABSENT'),
    );
    let standing: string[] = [];
    const onStaged = (tree: StagedChunks): void => {
      standing = hashes.filter((hash) => tree.has(hash));
    };
    await buildTree({ disk: realDisk, directory, manifest: made.manifest, chunks: inOrder(made, hashes), onStaged });
    expect(standing.sort()).toEqual([...half].sort());
  });

  it('proves whole files: a fetcher that did not verify spoils nothing, and the next attempt asks for the bad chunk alone', async () => {
    const directory = await temporaryDirectory();
    const long = madeRelease({ files: { long: bytesOf('long', 900_000) } });
    const [, bad = ''] = long.chunks.keys();
    const altered = Buffer.from(bytesOfChunk(long, bad));
    altered.writeUInt8(altered.readUInt8(0) ^ 1, 0);
    const liar: ChunkFetcher = {
      async fetch(wanted, deliver) {
        for (const hash of wanted.keys()) await deliver(hash, hash === bad ? altered : bytesOfChunk(long, hash), 'peer');
      },
    };
    const job = { disk: realDisk, directory, manifest: long.manifest };
    await expect(buildTree({ ...job, chunks: liar })).rejects.toSatisfy((error) => isWardcastError(error, 'HASH_MISMATCH') && error.context['chunk'] === bad);
    const got: string[] = [];
    await buildTree({ ...job, chunks: inOrder(long, [...long.chunks.keys()], { on: (hash) => got.push(hash) }) });
    expect(got).toEqual([bad]);
    await expectWhole(directory, long);
  });

  it('refuses what is not the length of the chunk, what nobody asked for, and what comes twice', async () => {
    const [hash = ''] = hashes;
    const job = { disk: realDisk, manifest: made.manifest };
    for (const [misdeed, code] of [
      [(deliver: Deliver) => deliver(hash, Buffer.alloc(3), 'peer'), 'HASH_MISMATCH'],
      [(deliver: Deliver) => deliver('0'.repeat(64), Buffer.alloc(3), 'peer'), 'INTERNAL'],
      [
        async (deliver: Deliver) => {
          await deliver(hash, bytesOfChunk(made, hash), 'peer');
          await deliver(hash, bytesOfChunk(made, hash), 'peer');
        },
        'INTERNAL',
      ],
    ] as const) {
      const chunks: ChunkFetcher = { fetch: (_wanted, deliver) => misdeed(deliver) };
      await expect(buildTree({ ...job, directory: await temporaryDirectory(), chunks })).rejects.toSatisfy((error) => isWardcastError(error, code));
    }
  });

  it('waits for what is being written when the fetcher gives up, and takes nothing afterwards', async () => {
    const directory = await temporaryDirectory();
    let late: Deliver | undefined;
    let writing: Promise<void> | undefined;
    let written = false;
    const [first = '', second = ''] = hashes;
    const chunks: ChunkFetcher = {
      async fetch(_wanted, deliver) {
        late = deliver;
        writing = deliver(first, bytesOfChunk(made, first), 'peer').then(() => {
          written = true;
        });
        throw new WardcastError('CONNECTION_LOST', 'gone');
      },
    };
    await expect(buildTree({ disk: realDisk, directory, manifest: made.manifest, chunks })).rejects.toSatisfy((e) => isWardcastError(e, 'CONNECTION_LOST'));
    await writing?.catch(() => undefined);
    expect(written).toBe(true);
    await expect(late?.(second, bytesOfChunk(made, second), 'peer')).rejects.toSatisfy((error) => isWardcastError(error, 'ABORTED'));
  });

  it('stops the fetcher when a file cannot be finished, and says why', async () => {
    const broken = withHandles(realDisk, (handle) => ({ ...handle, sync: () => Promise.reject(Object.assign(new Error('EIO'), { code: 'EIO' })) }));
    let stopped: unknown;
    const chunks: ChunkFetcher = {
      fetch: (_wanted, deliver, { signal } = {}) =>
        new Promise((_resolve, reject) => {
          signal?.addEventListener('abort', () => {
            stopped = signal.reason;
            reject(new WardcastError('ABORTED', 'stopped'));
          });
          void deliver(hashes.at(-1) ?? '', bytesOfChunk(made, hashes.at(-1) ?? ''), 'peer').catch(() => undefined);
        }),
    };
    await expect(buildTree({ disk: broken, directory: await temporaryDirectory(), manifest: made.manifest, chunks })).rejects.toThrow('EIO');
    expect(String(stopped)).toContain('EIO');
  });

  it('takes no more than it can finish: a disk that is slow to sync holds up those who deliver', async () => {
    const many = madeRelease({ files: Object.fromEntries(Array.from({ length: 300 }, (_, i) => [`f${i}`, `file ${i}`])) });
    const open = Promise.withResolvers<void>();
    const slow = withHandles(realDisk, (handle) => ({
      ...handle,
      sync: async () => {
        await open.promise;
      },
    }));
    let delivered = 0;
    const chunks: ChunkFetcher = {
      async fetch(wanted, deliver) {
        const all = Promise.all(
          [...wanted.keys()].map(async (hash) => {
            await deliver(hash, bytesOfChunk(many, hash), 'peer');
            delivered += 1;
          }),
        );
        for (let before = -1; before !== delivered || delivered === 0; ) {
          before = delivered;
          await new Promise((tick) => setTimeout(tick, 50));
        }
        expect(delivered).toBeLessThanOrEqual(STAGE_CONCURRENCY);
        open.resolve();
        await all;
      },
    };
    const directory = await temporaryDirectory();
    await buildTree({ disk: slow, directory, manifest: many.manifest, chunks });
    await expectWhole(directory, many);
  });

  it('keeps few files open for a release of 20,000', async () => {
    const many = madeRelease({ files: Object.fromEntries(Array.from({ length: 20_000 }, (_, i) => [`d${i % 50}/f${i}`, `file ${i}`])) });
    let openNow = 0;
    let most = 0;
    // Syncing so many files is what takes the time, and is not what this asks.
    const counting = withHandles(
      realDisk,
      (handle) => ({
        ...handle,
        sync: async () => undefined,
        close: async () => {
          await handle.close();
          openNow -= 1;
        },
      }),
      () => {
        openNow += 1;
        most = Math.max(most, openNow);
      },
    );
    const directory = await temporaryDirectory();
    const order = shuffled([...many.chunks.keys()], seededRandom(3));
    await buildTree({ disk: counting, directory, manifest: many.manifest, chunks: inOrder(many, order, { atOnce: 256 }) });
    expect(openNow).toBe(0);
    expect(most).toBeLessThanOrEqual(STAGE_OPEN_FILES);
    expect(await readFile(join(directory, 'd7/f1007'), 'utf8')).toBe('file 1007');
    expect((await readdir(join(directory, dirname('d7/f7')))).length).toBe(400);
  }, 120_000);
});

type Durable = Record<'sync' | 'close', () => Promise<void>>;

/** A disk whose open files do some things differently. */
function withHandles(disk: Disk, change: (handle: Durable) => Durable, onOpen?: () => void): Disk {
  return {
    ...disk,
    open: async (...args) => {
      const handle = await disk.open(...args);
      onOpen?.();
      const { sync, close } = change({ sync: handle.sync.bind(handle), close: handle.close.bind(handle) });
      return Object.assign(handle, { sync, close });
    },
  };
}
