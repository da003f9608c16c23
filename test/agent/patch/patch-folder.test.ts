import { mkdir, readdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { beforeEach, describe, expect, it } from 'vitest';
import type { InstalledTree } from '../../../agent/handlers/directory.ts';
import type { StagedChunks } from '../../../agent/handlers/install-handler.ts';
import { patchFirst } from '../../../agent/patch/patch-first.ts';
import { PatchFolder } from '../../../agent/patch/patch-folder.ts';
import { WardcastError } from '../../../shared/base/errors.ts';
import { PATCH_MEMORY } from '../../../shared/base/limits.ts';
import { makePatch } from '../../../shared/delta/make.ts';
import type { TreeFile } from '../../../shared/delta/tree.ts';
import type { ChunkFetcher } from '../../../shared/store/chunk-fetcher.ts';
import { bytesOf } from '../../support/files.ts';
import { type MadeRelease, madeRelease } from '../../support/made-release.ts';
import { RecordingLog } from '../../support/recording-log.ts';
import { temporaryDirectory } from '../../support/temporary-directory.ts';

const KIB = 1024;
const library = bytesOf('library', 800 * KIB);
const changed = Buffer.from(library);
for (let at = 0; at < changed.length; at += 5000) changed[at] = ((changed[at] ?? 0) + 1) & 0xff;
const same = bytesOf('same', 100 * KIB);
const old = madeRelease({ version: '1.0.0', files: { 'lib/library': library, same } });
const next = madeRelease({ version: '1.1.0', files: { 'lib/library': changed, twice: changed, same, empty: '' } });
const wanted = new Map([...next.chunks].flatMap(([hash, { length }]) => (old.chunks.has(hash) ? [] : [[hash, length] as const])));

let directory: string;
beforeEach(async () => {
  directory = await temporaryDirectory();
});

async function installed(release: MadeRelease): Promise<InstalledTree> {
  const folder = join(directory, 'installed', release.version);
  for (const [name, bytes] of release.contents) {
    await mkdir(join(folder, name, '..'), { recursive: true });
    await writeFile(join(folder, name), bytes);
  }
  return { manifestHash: release.manifestHash, manifest: release.manifest, directory: folder };
}

function treeOf({ manifest, contents }: MadeRelease): TreeFile[] {
  return manifest.files.map(({ path, size, sha256 }) => ({
    path,
    size,
    sha256,
    reader: { size, read: (buffer, position) => void contents.get(path)?.copy(buffer, 0, position, position + buffer.length) },
  }));
}

async function patchOf(from: MadeRelease, to: MadeRelease): Promise<Buffer> {
  const parts: Buffer[] = [];
  for await (const part of makePatch({ old: treeOf(from), files: treeOf(to) })) parts.push(part);
  return Buffer.concat(parts);
}

interface Outcome {
  /** Chunks by where they came from. */
  readonly patched: Map<string, Buffer>;
  readonly fetched: string[];
  readonly log: RecordingLog;
  readonly shared: StagedChunks[];
}

/** Installs with these bytes as the patch; the rest comes from elsewhere. */
async function install(bytes: Buffer, o: { free?: number; deliver?: () => Promise<void>; tree?: InstalledTree; folder?: PatchFolder } = {}): Promise<Outcome> {
  const release = madeRelease({ version: '1.1.0', files: { patch: bytes } });
  const folder = o.folder ?? new PatchFolder({ directory: join(directory, 'patches'), freeMemory: () => o.free ?? 2 * PATCH_MEMORY });
  const outcome: Outcome = { patched: new Map(), fetched: [], log: new RecordingLog(), shared: [] };
  const chunks: ChunkFetcher = {
    fetch: async (missing, deliver) => {
      for (const hash of missing.keys()) await deliver(hash, release.chunks.get(hash) ?? Buffer.alloc(0), 'gateway');
    },
  };
  const share = (tree: StagedChunks): (() => void) => {
    outcome.shared.push(tree);
    return () => void outcome.shared.splice(outcome.shared.indexOf(tree), 1);
  };
  const patch = folder.patch({
    patchHash: release.manifestHash,
    patch: release.manifest,
    old: o.tree ?? (await installed(old)),
    next: next.manifest,
    chunks,
    share,
  });
  const rest: ChunkFetcher = {
    fetch: async (missing, deliver) => {
      for (const hash of missing.keys()) await deliver(hash, next.chunks.get(hash) ?? Buffer.alloc(0), 'gateway');
    },
  };
  await patchFirst(patch, rest, outcome.log).fetch(wanted, async (hash, content, from) => {
    await o.deliver?.();
    expect(content.equals(next.chunks.get(hash) ?? Buffer.alloc(0))).toBe(true);
    if (from === 'patch') outcome.patched.set(hash, content);
    else outcome.fetched.push(hash);
  });
  return outcome;
}

const failure = ({ log }: Outcome): unknown => Reflect.get(Object(log.all('patch.failed')[0]?.['error']), 'code');

describe('a patch on a device', () => {
  it('makes every chunk that is missing, each once, in a thread of its own, and is passed on until it is tidied away', async () => {
    const folder = new PatchFolder({ directory: join(directory, 'patches'), freeMemory: () => 2 * PATCH_MEMORY });
    const bytes = await patchOf(old, next);
    const outcome = await install(bytes, { folder });
    expect([...outcome.patched.keys()].sort()).toEqual([...wanted.keys()].sort());
    expect(outcome.fetched).toEqual([]);
    const [kept] = outcome.shared;
    const [hash = ''] = madeRelease({ version: '1.1.0', files: { patch: bytes } }).chunks.keys();
    expect(kept?.has(hash)).toBe(true);
    expect(await kept?.read(hash)).toEqual(bytes.subarray(0, (await kept?.read(hash))?.length));
    await folder.tidy();
    expect(outcome.shared).toEqual([]);
    expect(await readdir(join(directory, 'patches'))).toEqual([]);
  });

  it('costs a fetch alone when it was made for other files, is cut off, or is nonsense', async () => {
    const right = await patchOf(old, next);
    const cases: readonly (readonly [string, Buffer, string])[] = [
      ['another pair', await patchOf(next, old), 'PATCH_WRONG_BASE'],
      ['cut off', right.subarray(0, right.length - 7), 'PATCH_INVALID'],
      ['something behind it', Buffer.concat([right, Buffer.from('x')]), 'PATCH_INVALID'],
      ['nonsense', bytesOf('nonsense', 5000), 'PATCH_INVALID'],
      ['a frame larger than frames are', Buffer.concat([right.subarray(0, 16), Buffer.alloc(8, 0xff)]), 'PATCH_INVALID'],
    ];
    for (const [what, bytes, code] of cases) {
      const outcome = await install(bytes);
      expect(failure(outcome), what).toBe(code);
      expect(outcome.patched.size + outcome.fetched.length, what).toBe(wanted.size);
    }
  });

  it('gives nothing that is not what the manifest names, wherever a bit of it is turned', async () => {
    const right = await patchOf(old, next);
    for (let at = 20; at < right.length; at += Math.ceil(right.length / 8)) {
      const bytes = Buffer.from(right);
      bytes[at] = (bytes[at] ?? 0) ^ 0x20;
      const outcome = await install(bytes);
      expect(outcome.patched.size + outcome.fetched.length).toBe(wanted.size);
    }
  });

  it('has what does not come out right of a damaged old file fetched, and all of it when the file is gone', async () => {
    const bytes = await patchOf(old, next);
    const tree = await installed(old);
    const file = join(tree.directory, 'lib/library');
    const damaged = await readFile(file);
    damaged.fill(0, 500_000, 500_100);
    await writeFile(file, damaged);
    const outcome = await install(bytes, { tree });
    expect(outcome.patched.size).toBeGreaterThan(0);
    expect(outcome.fetched.length).toBeGreaterThan(0);
    expect(outcome.patched.size + outcome.fetched.length).toBe(wanted.size);
    const gone = await install(bytes, { tree: { ...tree, directory: join(directory, 'nowhere') } });
    expect(gone.patched.size).toBe(0);
    expect(gone.fetched.length).toBe(wanted.size);
  });

  it('is left alone where memory is short', async () => {
    const outcome = await install(await patchOf(old, next), { free: PATCH_MEMORY - 1 });
    expect(failure(outcome)).toBe('BUSY');
    expect(outcome.fetched.length).toBe(wanted.size);
  });

  it('ends with the reason when what it makes cannot be written: no other source changes that', async () => {
    const full = async (): Promise<void> => {
      throw new WardcastError('SPACE_SHORT', 'the disk is full');
    };
    await expect(install(await patchOf(old, next), { deliver: full })).rejects.toMatchObject({ code: 'SPACE_SHORT' });
  });

  it('is not fetched when it is larger than what is missing', async () => {
    const outcome = await install(bytesOf('large', 2 * 1024 * KIB));
    expect(outcome.fetched.length).toBe(wanted.size);
    expect(outcome.log.lines).toEqual([]);
    expect(await readdir(directory)).not.toContain('patches');
  });
});
