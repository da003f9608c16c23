import { beforeEach, describe, expect, it } from 'vitest';
import type { AcceptedRelease, InstallHandler } from '../../agent/handlers/install-handler.ts';
import { isWardcastError } from '../../shared/base/errors.ts';
import { sha256 } from '../../shared/bundle/digest.ts';
import { type ChunkFetcher, fetchOneByOne } from '../../shared/store/chunk-fetcher.ts';
import type { ChunkSource } from '../../shared/store/chunk-source.ts';
import { MemoryChunkStore } from '../../shared/store/memory-chunk-store.ts';

export interface HandlerBench {
  readonly handler: InstallHandler;
  /** The files of what runs, read past the handler; undefined: nothing runs. */
  readonly runningFiles: (application: string) => Promise<ReadonlyMap<string, Buffer> | undefined>;
  /** Makes two versions of one application, and one of another. */
  readonly releases: readonly [Made, Made, Made];
}
export interface Made extends AcceptedRelease {
  readonly chunks: ReadonlyMap<string, Buffer>;
  readonly contents: ReadonlyMap<string, Buffer>;
}

/** What every InstallHandler keeps to. */
export function installHandlerContract(name: string, make: () => Promise<HandlerBench>): void {
  describe(`${name} is an InstallHandler that`, () => {
    let bench: HandlerBench;
    let one: Made;
    let two: Made;
    let other: Made;
    beforeEach(async () => {
      bench = await make();
      [one, two, other] = bench.releases;
    });

    const bring = async (release: Made): Promise<void> => {
      await bench.handler.stage(release, await fetcherOf(release));
      await bench.handler.activate(release);
      await bench.handler.check(release);
      await bench.handler.commit(release);
    };
    const installed = ({ application, version, manifestHash }: AcceptedRelease): object => ({ application, version, manifestHash });

    it('finds nothing on an empty device', async () => {
      expect(await bench.handler.running(one.application)).toBeUndefined();
      expect(await bench.handler.inventory()).toEqual([]);
    });

    it('installs a release file by file', async () => {
      await bring(one);
      expect(await bench.handler.running(one.application)).toEqual(installed(one));
      expect(digests(await bench.runningFiles(one.application))).toEqual(digests(one.contents));
    });

    it('replaces a release whole', async () => {
      await bring(one);
      await bring(two);
      expect(await bench.handler.running(one.application)).toEqual(installed(two));
      expect(digests(await bench.runningFiles(one.application))).toEqual(digests(two.contents));
    });

    it('lists every application once', async () => {
      await bring(one);
      await bring(other);
      expect([...(await bench.handler.inventory())].sort((a, b) => (a.application < b.application ? -1 : 1))).toEqual(
        [one, other].sort((a, b) => (a.application < b.application ? -1 : 1)).map(installed),
      );
    });

    it('runs the old release until the new one is activated', async () => {
      await bring(one);
      await bench.handler.stage(two, await fetcherOf(two));
      expect(await bench.handler.running(one.application)).toEqual(installed(one));
      expect(digests(await bench.runningFiles(one.application))).toEqual(digests(one.contents));
    });

    it('says how much is missing, and fetches nothing that is staged already', async () => {
      const missing: number[] = [];
      await bench.handler.stage(two, await fetcherOf(two), { onMissing: (bytes) => missing.push(bytes) });
      await bench.handler.stage(two, await fetcherOf(), { onMissing: (bytes) => missing.push(bytes) });
      expect(missing).toEqual([[...two.chunks.values()].reduce((sum, bytes) => sum + bytes.length, 0), 0]);
    });

    it('does every step again without harm', async () => {
      await bring(one);
      for (let round = 0; round < 2; round++) await bench.handler.stage(two, await fetcherOf(two));
      for (let round = 0; round < 2; round++) await bench.handler.activate(two);
      for (let round = 0; round < 2; round++) await bench.handler.check(two);
      for (let round = 0; round < 2; round++) await bench.handler.commit(two);
      expect(digests(await bench.runningFiles(one.application))).toEqual(digests(two.contents));
    });

    it('rolls back to what ran before, as often as asked', async () => {
      await bring(one);
      await bench.handler.stage(two, await fetcherOf(two));
      await bench.handler.activate(two);
      const previous = { application: one.application, version: one.version, manifestHash: one.manifestHash };
      for (let round = 0; round < 2; round++) await bench.handler.rollback(two, previous);
      expect(await bench.handler.running(one.application)).toEqual(installed(one));
      expect(digests(await bench.runningFiles(one.application))).toEqual(digests(one.contents));
    });

    it('rolls back to nothing', async () => {
      await bench.handler.stage(one, await fetcherOf(one));
      await bench.handler.activate(one);
      await bench.handler.rollback(one, undefined);
      expect(await bench.handler.running(one.application)).toBeUndefined();
      expect(await bench.handler.inventory()).toEqual([]);
    });

    it('removes an application with all its releases, as often as asked, and leaves the others alone', async () => {
      await bring(one);
      await bring(two);
      await bring(other);
      for (let round = 0; round < 2; round++) await bench.handler.remove(one.application);
      expect(await bench.handler.inventory()).toEqual([installed(other)]);
      expect(await bench.runningFiles(one.application)).toBeUndefined();
      // Nothing of it stands there any more: every byte has to come anew.
      const missing: number[] = [];
      await bench.handler.stage(one, await fetcherOf(one), { onMissing: (bytes) => missing.push(bytes) });
      expect(missing).toEqual([[...one.chunks.values()].reduce((sum, bytes) => sum + bytes.length, 0)]);
    });

    it('rolls back what was only staged', async () => {
      await bring(one);
      await bench.handler.stage(two, await fetcherOf(two));
      await bench.handler.rollback(two, { application: one.application, version: one.version, manifestHash: one.manifestHash });
      expect(digests(await bench.runningFiles(one.application))).toEqual(digests(one.contents));
    });

    it('goes back to a release that was committed before', async () => {
      await bring(one);
      await bring(two);
      await bring(one);
      expect(await bench.handler.running(one.application)).toEqual(installed(one));
      expect(digests(await bench.runningFiles(one.application))).toEqual(digests(one.contents));
    });

    it('leaves the running release alone when a chunk cannot be had', async () => {
      await bring(one);
      await expect(bench.handler.stage(two, await fetcherOf())).rejects.toSatisfy((error) => isWardcastError(error, 'OBJECT_ABSENT'));
      expect(digests(await bench.runningFiles(one.application))).toEqual(digests(one.contents));
      await bring(two);
      expect(digests(await bench.runningFiles(one.application))).toEqual(digests(two.contents));
    });

    it('believes no source: altered content never becomes a release', async () => {
      const liar: ChunkSource = {
        has: async () => true,
        get: async (hash) => {
          const bytes = Buffer.from(two.chunks.get(hash) ?? Buffer.alloc(0));
          bytes.writeUInt8(bytes.readUInt8(0) ^ 1, 0);
          return bytes;
        },
      };
      await expect(bench.handler.stage(two, fetchOneByOne(liar, 'gateway'))).rejects.toSatisfy((error) => isWardcastError(error, 'HASH_MISMATCH'));
      expect(await bench.handler.running(two.application)).toBeUndefined();
      await bring(two);
      expect(digests(await bench.runningFiles(two.application))).toEqual(digests(two.contents));
    });

    it('stops staging when its signal is aborted', async () => {
      await expect(bench.handler.stage(two, await fetcherOf(two), { signal: AbortSignal.abort(new Error('enough')) })).rejects.toThrow('enough');
      expect(await bench.handler.running(two.application)).toBeUndefined();
    });
  });
}

/** Files by their sha256: comparing megabytes of bytes one by one takes a test runner seconds. */
export function digests(files: ReadonlyMap<string, Buffer> | undefined): Record<string, string> | undefined {
  return files === undefined ? undefined : Object.fromEntries([...files].map(([path, bytes]) => [path, sha256(bytes)]));
}

export async function sourceOf(...releases: readonly { readonly chunks: ReadonlyMap<string, Buffer> }[]): Promise<MemoryChunkStore> {
  const store = new MemoryChunkStore();
  for (const { chunks } of releases) for (const [hash, bytes] of chunks) await store.put(hash, bytes);
  return store;
}

export async function fetcherOf(...releases: readonly { readonly chunks: ReadonlyMap<string, Buffer> }[]): Promise<ChunkFetcher> {
  return fetchOneByOne(await sourceOf(...releases), 'gateway');
}
