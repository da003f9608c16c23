import { mkdir, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { beforeEach, describe, expect, it } from 'vitest';
import { OwnShelf } from '../../../agent/serve/shelf.ts';
import type { Bundle } from '../../../shared/bundle/bundle.ts';
import { type ContentKeys, contentKeyId, newContentKey } from '../../../shared/bundle/content-key.ts';
import type { GroupView } from '../../../shared/trust/client.ts';
import { DEVICE_A, DEVICE_A2 } from '../../support/broker-rig.ts';
import { bytesOf } from '../../support/files.ts';
import { type MadeRelease, madeRelease } from '../../support/made-release.ts';
import { ManualClock } from '../../support/manual-clock.ts';
import { temporaryDirectory } from '../../support/temporary-directory.ts';

const one = madeRelease({ version: '1.0.0', files: { a: bytesOf('one', 200_000) } });
const two = madeRelease({ version: '2.0.0', files: { a: bytesOf('two', 200_000) } });

function viewOf(...releases: readonly MadeRelease[]): GroupView {
  const bundle: Bundle = { format: 1, customer: 'acme', site: 'north', group: 'ct', sequence: 1, releases: [], withdrawn: [] };
  return {
    bundle,
    bundleHash: '0'.repeat(64),
    timestampVersion: 1,
    manifests: new Map(releases.map(({ manifestHash, manifest }) => [manifestHash, manifest])),
    patches: new Map(),
    metadata: new Map([['timestamp.json', Buffer.from(JSON.stringify({ signed: { expires: '2026-02-15T00:00:00Z', version: 1 } }))]]),
    targets: new Map(releases.map(({ manifestHash, bytes }) => [manifestHash, bytes])),
  };
}

async function installed(release: MadeRelease) {
  const directory = await temporaryDirectory();
  for (const [path, bytes] of release.contents) {
    await mkdir(dirname(join(directory, path)), { recursive: true });
    await writeFile(join(directory, path), bytes);
  }
  return { manifestHash: release.manifestHash, manifest: release.manifest, directory };
}

const firstOf = (release: MadeRelease): string => [...release.chunks.keys()][0] ?? '';
const staged = (release: MadeRelease) => ({ has: (hash: string) => release.chunks.has(hash), read: async (hash: string) => release.chunks.get(hash) });

let clock: ManualClock;
beforeEach(() => {
  clock = new ManualClock(Date.UTC(2026, 0, 1));
});
const shelfOf = (view: GroupView): OwnShelf => new OwnShelf(DEVICE_A, () => view, clock);

describe("a device's shelf", () => {
  it('gives no content any more when its signed view has expired, and its signed files still', async () => {
    const shelf = shelfOf(viewOf(two));
    shelf.restock([await installed(two)]);
    expect(await shelf.find(DEVICE_A2, DEVICE_A)?.chunk(firstOf(two))).toEqual(two.chunks.get(firstOf(two)));
    await clock.advance(46 * 24 * 60 * 60 * 1000);
    const served = shelf.find(DEVICE_A2, DEVICE_A);
    expect(served?.has(firstOf(two))).toBe(false);
    expect(await served?.chunk(firstOf(two))).toBeUndefined();
    expect(served?.manifest(two.manifestHash)).toBeUndefined();
    expect(await served?.metadata('timestamp.json')).toBeDefined();
    // For the device itself nothing changed.
    expect(shelf.holds(firstOf(two))).toBe(true);
  });

  it('serves what the bundle names and is installed, and nothing else that stands on the device', async () => {
    const shelf = shelfOf(viewOf(two));
    shelf.restock([await installed(one), await installed(two)]);
    const served = shelf.find(DEVICE_A2, DEVICE_A);
    expect(shelf.holds(firstOf(two))).toBe(true);
    expect(await served?.chunk(firstOf(two))).toEqual(two.chunks.get(firstOf(two)));
    expect(shelf.holds(firstOf(one))).toBe(false);
    expect(served?.has(firstOf(one))).toBe(false);
    expect(await served?.chunk(firstOf(one))).toBeUndefined();
    expect(served?.manifest(two.manifestHash)?.hashes).toEqual([...two.chunks.keys()]);
    expect(served?.manifest(one.manifestHash)).toBeUndefined();
    expect(await served?.target(two.manifestHash)).toEqual(two.bytes);
  });

  it('serves what is being staged, until staging ends', async () => {
    const shelf = shelfOf(viewOf(one));
    const unstage = shelf.stage(staged(one));
    shelf.stage(staged(two));
    expect(shelf.holds(firstOf(one))).toBe(true);
    expect(shelf.holds(firstOf(two))).toBe(false);
    expect(await shelf.find(DEVICE_A2, DEVICE_A)?.chunk(firstOf(one))).toEqual(one.chunks.get(firstOf(one)));
    unstage();
    expect(shelf.holds(firstOf(one))).toBe(false);
  });

  it('knows no other scope, and nothing without a verified bundle', async () => {
    const shelf = new OwnShelf(DEVICE_A, () => undefined, clock);
    shelf.restock([await installed(one)]);
    expect(shelf.find(DEVICE_A2, { ...DEVICE_A, group: 'pumps' })).toBeUndefined();
    expect(shelf.find(DEVICE_A2, { ...DEVICE_A, site: 'south' })).toBeUndefined();
    expect(shelf.holds(firstOf(one))).toBe(false);
    expect(shelf.find(DEVICE_A2, DEVICE_A)?.has(firstOf(one))).toBe(false);
  });

  it('takes a damaged file for absent', async () => {
    const shelf = shelfOf(viewOf(one));
    const tree = await installed(one);
    shelf.restock([tree]);
    await writeFile(join(tree.directory, 'a'), Buffer.alloc(200_000));
    expect(await shelf.find(DEVICE_A2, DEVICE_A)?.chunk(firstOf(one))).toBeUndefined();
    expect(shelf.holds(firstOf(one))).toBe(false);
  });

  it('makes the wire form of compressed content again', async () => {
    const release = madeRelease({ files: { a: 'to be compressed, '.repeat(20_000), b: bytesOf('b', 100_000) }, form: 'compressed' });
    const shelf = shelfOf(viewOf(release));
    shelf.restock([await installed(release)]);
    const served = shelf.find(DEVICE_A2, DEVICE_A);
    for (const [hash, wire] of release.chunks) expect(await served?.chunk(hash)).toEqual(wire);
  });

  it('makes the wire form of an encrypted release again while it has the key, and gives nothing of it when it has not', async () => {
    const key = newContentKey();
    const release = madeRelease({ files: { a: 'to be compressed, '.repeat(20_000), b: bytesOf('b', 100_000) }, form: { sealedUnder: key } });
    const known: { keys: ContentKeys } = { keys: new Map([[contentKeyId(key), key]]) };
    const tree = await installed(release);
    const shelf = new OwnShelf(
      DEVICE_A,
      () => viewOf(release),
      clock,
      (manifest) => (manifest === release.manifestHash ? known.keys : new Map()),
    );
    shelf.restock([tree]);
    for (const [hash, wire] of release.chunks) expect(await shelf.find(DEVICE_A2, DEVICE_A)?.chunk(hash)).toEqual(wire);
    known.keys = new Map([[contentKeyId(newContentKey()), newContentKey()]]);
    shelf.restock([tree]);
    for (const hash of release.chunks.keys()) expect(await shelf.find(DEVICE_A2, DEVICE_A)?.chunk(hash)).toBeUndefined();
  });

  it('gives up on a chunk that another zstd packed otherwise, and goes on with the rest', async () => {
    const plain = madeRelease({ files: { a: 'to be compressed, '.repeat(20_000), b: bytesOf('b', 100_000) }, form: 'compressed' });
    const [file, ...others] = plain.manifest.files;
    const [first, ...rest] = file?.chunks ?? [];
    if (file === undefined || first?.wire === undefined) throw new Error('nothing was compressed');
    // As if its signer's zstd had made these bytes.
    const otherwise = { ...first, hash: 'e'.repeat(64) };
    const manifest = { ...plain.manifest, files: [{ ...file, chunks: [otherwise, ...rest.filter(({ hash }) => hash !== first.hash)] }, ...others] };
    const release = { ...plain, manifest };
    const shelf = shelfOf(viewOf(release));
    shelf.restock([await installed(release)]);
    const served = shelf.find(DEVICE_A2, DEVICE_A);
    expect(shelf.holds(otherwise.hash)).toBe(true);
    expect(await served?.chunk(otherwise.hash)).toBeUndefined();
    // From now on it says so before it is asked.
    expect(shelf.holds(otherwise.hash)).toBe(false);
    const incompressible = others[0]?.chunks[0]?.hash ?? '';
    expect(await served?.chunk(incompressible)).toEqual(plain.chunks.get(incompressible));
  });
});
