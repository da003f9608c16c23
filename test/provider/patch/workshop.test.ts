import { readdir, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { type Made, Workshop } from '../../../provider/patch/workshop.ts';
import { WardcastError } from '../../../shared/base/errors.ts';
import { ChunkCodec } from '../../../shared/bundle/chunk-form.ts';
import { contentKeyId, newContentKey } from '../../../shared/bundle/content-key.ts';
import { sha256 } from '../../../shared/bundle/digest.ts';
import { type Manifest, parseManifest } from '../../../shared/bundle/manifest.ts';
import { DiskChunkStore } from '../../../shared/store/disk-chunk-store.ts';
import { bytesOf } from '../../support/files.ts';
import { type MadeRelease, madeRelease } from '../../support/made-release.ts';
import { RecordingLog } from '../../support/recording-log.ts';
import { temporaryDirectory } from '../../support/temporary-directory.ts';

const KIB = 1024;
const library = bytesOf('library', 600 * KIB);
const changed = Buffer.concat([library.subarray(0, 200 * KIB), Buffer.from('something new'), library.subarray(210 * KIB)]);
const key = newContentKey();
const old = madeRelease({ version: '1.0.0', files: { library } });
const next = madeRelease({ version: '1.1.0', files: { library: changed, copy: changed, empty: '' } });
const sealed = {
  old: madeRelease({ version: '1.0.0', files: { library }, form: { sealedUnder: key } }),
  next: madeRelease({ version: '1.1.0', files: { library: changed }, form: { sealedUnder: key } }),
};

let directory: string;
let log: RecordingLog;
let stop: AbortController;
beforeEach(async () => {
  directory = await temporaryDirectory();
  log = new RecordingLog();
  stop = new AbortController();
});
afterEach(() => stop.abort(new WardcastError('ABORTED', 'The test is over')));

interface Rig {
  readonly workshop: Workshop;
  readonly chunks: DiskChunkStore;
  readonly manifests: DiskChunkStore;
}

async function open(...releases: readonly MadeRelease[]): Promise<Rig> {
  const chunkDirectory = join(directory, 'chunks');
  const chunks = await DiskChunkStore.open(chunkDirectory);
  const manifests = await DiskChunkStore.open(join(directory, 'manifests'));
  for (const release of releases) {
    for (const [hash, wire] of release.chunks) await chunks.put(hash, wire);
    await manifests.put(release.manifestHash, release.bytes);
  }
  const vault = {
    contentKey: async (id: string): Promise<Buffer> => {
      if (id !== contentKeyId(key)) throw new WardcastError('CONTENT_KEY_ABSENT', 'not here');
      return key;
    },
  };
  const workshop = await Workshop.open({ directory: join(directory, 'patches'), chunks, chunkDirectory, manifests, vault, log, signal: stop.signal });
  return { workshop, chunks, manifests };
}

async function made({ workshop }: Rig, from: MadeRelease, to: MadeRelease): Promise<Made> {
  await workshop.make(from.manifestHash, to.manifestHash);
  const known = await workshop.known(from.manifestHash, to.manifestHash);
  if (known === undefined || known === 'none') throw new Error(`no patch: ${JSON.stringify(log.lines)}`);
  return known;
}

async function manifestOf({ manifests }: Rig, { manifest }: Made): Promise<Manifest> {
  return parseManifest(await manifests.get(manifest));
}

describe('the workshop of patches', () => {
  it('makes one out of the stores, as a release of one small file, and knows it after a restart', async () => {
    const rig = await open(old, next);
    const patch = await made(rig, old, next);
    expect(patch.bytes).toBeLessThan(20 * KIB);
    const manifest = await manifestOf(rig, patch);
    expect(manifest).toMatchObject({ application: 'viewer', version: '1.1.0', hooks: {}, links: [], files: [{ path: 'patch', mode: 0o644 }] });
    const parts: Buffer[] = [];
    for (const { hash } of manifest.files[0]?.chunks ?? []) parts.push(await rig.chunks.get(hash));
    expect(sha256(Buffer.concat(parts))).toBe(manifest.files[0]?.sha256);
    expect(await (await open()).workshop.known(old.manifestHash, next.manifestHash)).toEqual(patch);
    expect(log.all('patch.made')).toHaveLength(1);
  });

  it('seals one under the content key of the release that it makes', async () => {
    const rig = await open(sealed.old, sealed.next);
    const manifest = await manifestOf(rig, await made(rig, sealed.old, sealed.next));
    expect(manifest.encryption).toEqual({ keys: [contentKeyId(key)] });
    const [chunk] = manifest.files[0]?.chunks ?? [];
    if (chunk === undefined) throw new Error('an empty patch');
    const wire = await rig.chunks.get(chunk.hash);
    expect(new ChunkCodec(manifest, new Map([[contentKeyId(key), key]])).decode(wire, chunk).subarray(0, 3).toString()).toBe('WCP');
    expect(wire.includes('WCP')).toBe(false);
  });

  it('makes none that would tell what an encrypted release holds to whoever may read the next', async () => {
    const rig = await open(sealed.old, next);
    await rig.workshop.make(sealed.old.manifestHash, next.manifestHash);
    expect(await rig.workshop.known(sealed.old.manifestHash, next.manifestHash)).toBe('none');
    expect(log.all('patch.not-worth-it')).toMatchObject([{ why: 'the old one is encrypted, and the new one is not' }]);
  });

  it('makes one anew whose chunks or note were lost, and forgets what a crash left half-made', async () => {
    const rig = await open(old, next);
    const patch = await made(rig, old, next);
    const [lost] = (await manifestOf(rig, patch)).files[0]?.chunks ?? [];
    await rig.chunks.delete(lost?.hash ?? '');
    expect(await rig.workshop.known(old.manifestHash, next.manifestHash)).toBeUndefined();
    expect(await made(rig, old, next)).toEqual(patch);

    const folder = join(directory, 'patches');
    await writeFile(join(folder, `${old.manifestHash}.${next.manifestHash}.json`), '{"half');
    await writeFile(join(folder, 'making.part'), 'half');
    const again = await open();
    expect(log.all('patch.forgotten')).toHaveLength(1);
    expect(await again.workshop.known(old.manifestHash, next.manifestHash)).toBeUndefined();
    expect(await readdir(folder)).not.toContain('making.part');
    expect(await made(again, old, next)).toEqual(patch);
  });

  it('gives up on one when a chunk of a release is lost or damaged on its disk, and leaves the store as it is', async () => {
    const rig = await open(old, next);
    const hash = [...old.chunks.keys()].find((one) => !next.chunks.has(one)) ?? '';
    await writeFile(join(directory, 'chunks', hash.slice(0, 2), hash), 'rotten');
    await rig.workshop.make(old.manifestHash, next.manifestHash);
    expect(await rig.workshop.known(old.manifestHash, next.manifestHash)).toBe('none');
    await rm(join(directory, 'chunks', hash.slice(0, 2), hash));
    const other = await open(next);
    await other.workshop.make(old.manifestHash, next.manifestHash);
    expect(log.all('patch.not-made').map(({ error }) => error)).toEqual([
      expect.objectContaining({ code: 'HASH_MISMATCH' }),
      expect.objectContaining({ code: 'OBJECT_ABSENT' }),
    ]);
  });

  it('stops in the middle when the provider stops, and makes it at the next start', async () => {
    const rig = await open(old, next);
    const making = rig.workshop.make(old.manifestHash, next.manifestHash);
    stop.abort(new WardcastError('ABORTED', 'stopping'));
    await making;
    await rig.workshop.idle();
    stop = new AbortController();
    await made(await open(), old, next);
  });
});
