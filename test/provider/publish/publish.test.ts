import { execFileSync } from 'node:child_process';
import { chmodSync, cpSync, mkdirSync, readdirSync, readFileSync, rmSync, statSync, symlinkSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { ceremonyLayout, createKeys, delegateApplication } from '../../../provider/publish/ceremony.ts';
import { contentKeysOf } from '../../../provider/publish/packing.ts';
import { withdrawInRole } from '../../../provider/publish/release-role.ts';
import { signRelease } from '../../../provider/publish/sign-release.ts';
import { walkTree } from '../../../provider/publish/walk.ts';
import { ChunkCodec } from '../../../shared/bundle/chunk-form.ts';
import type { ContentKeys } from '../../../shared/bundle/content-key.ts';
import { sha256 } from '../../../shared/bundle/digest.ts';
import { chunkSizes, type Manifest, parseManifest } from '../../../shared/bundle/manifest.ts';
import { releasesIn, verifyReleaseRole } from '../../../shared/trust/inspect.ts';
import { seededRandom } from '../../support/random.ts';
import { temporaryDirectory } from '../../support/temporary-directory.ts';

const coded = (code: string, why = ''): unknown => expect.objectContaining({ code, message: expect.stringContaining(why) });

async function workshop(): Promise<{ tree: string; workspace: string; pki: string; keyFile: string; metadata: string }> {
  const base = await temporaryDirectory();
  const pki = join(base, 'pki');
  await createKeys({ directory: pki, applications: ['viewer'] });
  const tree = join(base, 'tree');
  mkdirSync(join(tree, 'bin'), { recursive: true });
  mkdirSync(join(tree, 'data/empty-directory'), { recursive: true });
  writeFileSync(join(tree, 'bin/run'), '#!/bin/sh\nexit 0\n', { mode: 0o755 });
  const random = seededRandom(11);
  writeFileSync(join(tree, 'data/large'), Buffer.from(Array.from({ length: 5_300_000 }, () => random() * 256)));
  writeFileSync(join(tree, 'data/empty'), '');
  symlinkSync('../bin/run', join(tree, 'data/run'));
  const layout = ceremonyLayout(pki);
  return { tree, workspace: join(base, 'workspace'), pki, keyFile: join(layout.offline, 'release-viewer.pem'), metadata: layout.metadata };
}

function manifestIn(workspace: string, hash: string): Manifest {
  return parseManifest(readFileSync(join(workspace, 'manifests', `${hash}.json`)));
}

/** A file as a device makes it of the wire forms in the workspace. */
function contentOf(workspace: string, manifest: Manifest, path: string, keys: ContentKeys): Buffer {
  const codec = new ChunkCodec(manifest, keys);
  const chunks = manifest.files.find((file) => file.path === path)?.chunks ?? [];
  return Buffer.concat(chunks.map((chunk) => codec.decode(readFileSync(join(workspace, 'chunks', chunk.hash.slice(0, 2), chunk.hash)), chunk)));
}

describe('signing a release', () => {
  it('makes manifest, chunks and role from a tree, from which the tree can be made again', async () => {
    const { tree, workspace, keyFile, metadata } = await workshop();
    const progress: number[] = [];
    const signed = await signRelease({
      directory: tree,
      application: 'viewer',
      version: '1.0.0',
      keyFile,
      workspace,
      hooks: { check: { path: 'bin/run', timeoutMs: 1000 } },
      minimumAgent: '0.1.0',
      onProgress: (done, total) => progress.push(done / total),
    });
    const manifest = parseManifest(readFileSync(join(workspace, 'manifests', `${signed.manifest}.json`)));
    expect(manifest.files.map(({ path, mode }) => [path, mode])).toEqual([
      ['bin/run', 0o755],
      ['data/empty', 0o644],
      ['data/large', 0o644],
    ]);
    expect(manifest.links).toEqual([{ path: 'data/run', link: '../bin/run' }]);
    for (const file of manifest.files) {
      const bytes = Buffer.concat(file.chunks.map(({ hash }) => readFileSync(join(workspace, 'chunks', hash.slice(0, 2), hash))));
      expect(bytes.equals(readFileSync(join(tree, file.path)))).toBe(true);
      expect(sha256(bytes)).toBe(file.sha256);
    }
    expect(signed).toMatchObject({ files: 3, links: 1, bytes: manifest.size, roleVersion: 1, newBytes: manifest.size });
    expect(progress.at(-1)).toBe(1);
    const role = readFileSync(signed.roleFile);
    const root = readFileSync(join(metadata, '1.root.json'));
    const targets = readFileSync(join(metadata, '1.targets.json'));
    const [release] = verifyReleaseRole({ root, targets, application: 'viewer', role, now: new Date() });
    expect(release).toEqual({ version: '1.0.0', manifest: signed.manifest, size: signed.manifestBytes });
  });

  it('can be repeated, adds versions, and refuses other content under a signed version', async () => {
    const { tree, workspace, keyFile } = await workshop();
    const sign = (version: string) => signRelease({ directory: tree, application: 'viewer', version, keyFile, workspace });
    const first = await sign('1.0.0');
    expect(await sign('1.0.0')).toEqual({ ...first, newBytes: 0, newChunks: 0 });
    const second = await sign('1.1.0');
    expect(second).toMatchObject({ roleVersion: 2, newBytes: 0 });
    expect(releasesIn('viewer', readFileSync(second.roleFile)).map(({ version }) => version)).toEqual(['1.0.0', '1.1.0']);
    writeFileSync(join(tree, 'bin/run'), 'other', { mode: 0o755 });
    await expect(sign('1.1.0')).rejects.toThrow(coded('CONFLICT', 'other content'));
  });

  it('compresses what gets smaller by it, and takes over what an earlier release holds', async () => {
    const { tree, workspace, keyFile } = await workshop();
    const text = 'a line that comes again and again\n'.repeat(20_000);
    writeFileSync(join(tree, 'data/text'), text);
    const sign = (version: string) => signRelease({ directory: tree, application: 'viewer', version, keyFile, workspace });
    const first = await sign('1.0.0');
    expect(first.bytes - first.chunkBytes).toBeGreaterThan(text.length * 0.9);
    const manifest = manifestIn(workspace, first.manifest);
    expect(contentOf(workspace, manifest, 'data/text', new Map()).toString()).toBe(text);
    expect(manifest.files.find(({ path }) => path === 'data/large')?.chunks.every(({ wire }) => wire === undefined)).toBe(true);
    writeFileSync(join(tree, 'data/text'), `${text}and one more`);
    expect((await sign('1.1.0')).newChunks).toBeLessThanOrEqual(2);
  });

  it('encrypts under a key of its own, takes over what earlier releases hold with their keys, and gives the same again', async () => {
    const { tree, workspace, keyFile } = await workshop();
    writeFileSync(join(tree, 'data/text'), 'nobody else may read this sentence\n'.repeat(3000));
    const sign = (version: string, encrypt = true) => signRelease({ directory: tree, application: 'viewer', version, keyFile, workspace, encrypt });
    const first = await sign('1.0.0');
    expect(await sign('1.0.0')).toEqual({ ...first, newBytes: 0, newChunks: 0 });
    writeFileSync(join(tree, 'data/more'), 'and this one not either\n'.repeat(3000));
    const second = await sign('1.1.0');
    expect(second).toMatchObject({ encrypted: true, newChunks: 1 });
    expect(await sign('1.1.0')).toMatchObject({ manifest: second.manifest, newChunks: 0 });
    const [one, two] = [manifestIn(workspace, first.manifest), manifestIn(workspace, second.manifest)];
    expect(one.encryption?.keys).toHaveLength(1);
    expect(two.encryption?.keys).toHaveLength(2);
    expect(two.encryption?.keys[1]).toBe(one.encryption?.keys[0]);
    for (const hash of chunkSizes(two).keys()) {
      expect(readFileSync(join(workspace, 'chunks', hash.slice(0, 2), hash)).includes('sentence')).toBe(false);
    }
    const keys = await contentKeysOf(workspace, two);
    for (const { path } of two.files) expect(contentOf(workspace, two, path, keys).equals(readFileSync(join(tree, path)))).toBe(true);
    for (const id of keys.keys()) expect(statSync(join(workspace, 'content-keys', id)).mode & 0o777).toBe(0o600);
    // In the clear there is nothing to take over from, and the other way round.
    const clear = await sign('1.2.0', false);
    expect(clear.newChunks).toBe(clear.chunks);
    expect((await sign('1.3.0')).newChunks).toBe(0);
  });

  it('refuses to hand on a content key that was lost or altered in the workspace', async () => {
    const { tree, workspace, keyFile } = await workshop();
    const signed = await signRelease({ directory: tree, application: 'viewer', version: '1.0.0', keyFile, workspace, encrypt: true });
    const manifest = manifestIn(workspace, signed.manifest);
    const file = join(workspace, 'content-keys', manifest.encryption?.keys[0] ?? '');
    chmodSync(file, 0o600);
    writeFileSync(file, Buffer.alloc(32));
    await expect(contentKeysOf(workspace, manifest)).rejects.toThrow(coded('KEY_UNUSABLE'));
    rmSync(file);
    await expect(contentKeysOf(workspace, manifest)).rejects.toThrow(coded('NOT_FOUND', 'content key'));
  });

  it('withdraws a release in the role', async () => {
    const { tree, workspace, keyFile } = await workshop();
    for (const version of ['1.0.0', '1.1.0']) await signRelease({ directory: tree, application: 'viewer', version, keyFile, workspace });
    const role = await withdrawInRole({ workspace, application: 'viewer', version: '1.1.0', keyFile });
    expect(role.version).toBe(3);
    expect(releasesIn('viewer', readFileSync(role.file)).map(({ version }) => version)).toEqual(['1.0.0']);
    await expect(withdrawInRole({ workspace, application: 'viewer', version: '1.1.0', keyFile })).rejects.toThrow(coded('NOT_FOUND'));
  });

  it('signs nothing that somebody slipped into the workspace', async () => {
    const honest = await workshop();
    const thief = await workshop();
    await signRelease({ directory: thief.tree, application: 'viewer', version: '6.6.6', keyFile: thief.keyFile, workspace: thief.workspace });
    cpSync(join(thief.workspace, 'metadata'), join(honest.workspace, 'metadata'), { recursive: true });
    const { tree: directory, workspace, keyFile } = honest;
    await expect(signRelease({ directory, application: 'viewer', version: '1.0.0', keyFile, workspace })).rejects.toThrow(coded('METADATA_UNTRUSTED'));
  });

  it('stops when it is cancelled and when a file changes under its hands', async () => {
    const { tree: directory, workspace, keyFile } = await workshop();
    const base = { directory, application: 'viewer', version: '1.0.0', keyFile, workspace };
    await expect(signRelease({ ...base, signal: AbortSignal.abort(new Error('stop')) })).rejects.toThrow('stop');
    let touched = false;
    const onProgress = (): void => {
      if (!touched) writeFileSync(join(directory, 'data/large'), 'short now');
      touched = true;
    };
    await expect(signRelease({ ...base, onProgress })).rejects.toThrow(coded('CONFLICT', 'changed'));
    expect(readdirSync(join(workspace, 'metadata'))).toEqual([]);
  });
});

describe('a tree that no release can carry is refused by name', () => {
  it('a named pipe, a socket, setuid, an escaping link, an unsafe name, colliding names, nothing at all', async () => {
    const { tree, workspace, keyFile } = await workshop();
    const sign = () => signRelease({ directory: tree, application: 'viewer', version: '1.0.0', keyFile, workspace });
    const gone = (name: string): void => rmSync(join(tree, name), { recursive: true });
    execFileSync('/usr/bin/mkfifo', [join(tree, 'pipe')]);
    await expect(sign()).rejects.toThrow(coded('MANIFEST_INVALID', '"pipe" is refused: it is a named pipe'));
    gone('pipe');
    const server = createServer();
    await new Promise<void>((resolve) => server.listen(join(tree, 'sock'), resolve));
    await expect(sign()).rejects.toThrow(coded('MANIFEST_INVALID', 'socket'));
    await new Promise((resolve) => server.close(resolve));
    chmodSync(join(tree, 'bin/run'), 0o4755);
    await expect(sign()).rejects.toThrow(coded('MANIFEST_INVALID', 'setuid'));
    chmodSync(join(tree, 'bin/run'), 0o755);
    symlinkSync('/etc/passwd', join(tree, 'escape'));
    await expect(sign()).rejects.toThrow(coded('PATH_UNSAFE', 'absolute'));
    gone('escape');
    symlinkSync('../outside', join(tree, 'escape'));
    await expect(sign()).rejects.toThrow(coded('PATH_UNSAFE', 'out of the release tree'));
    gone('escape');
    writeFileSync(join(tree, 'back\\slash'), '');
    await expect(sign()).rejects.toThrow(coded('PATH_UNSAFE', 'backslash'));
    gone('back\\slash');
    writeFileSync(Buffer.concat([Buffer.from(`${tree}/`), Buffer.from([0x66, 0xff])]), '');
    await expect(sign()).rejects.toThrow(coded('PATH_UNSAFE', 'UTF-8'));
    rmSync(tree, { recursive: true });
    mkdirSync(tree);
    await expect(sign()).rejects.toThrow(coded('MANIFEST_INVALID', 'no files'));
    rmSync(tree, { recursive: true });
    await expect(sign()).rejects.toThrow(coded('STORAGE_FAILED'));
    await expect(walkTree(join(tree, 'nowhere'))).rejects.toThrow(coded('STORAGE_FAILED'));
  });

  it('names that collide elsewhere', async () => {
    const { tree, workspace, keyFile } = await workshop();
    writeFileSync(join(tree, 'README'), 'a');
    writeFileSync(join(tree, 'readme'), 'b');
    await expect(signRelease({ directory: tree, application: 'viewer', version: '1.0.0', keyFile, workspace })).rejects.toThrow(coded('PATH_COLLISION'));
  });
});

describe('the key ceremony', () => {
  it('makes every key in a file of its own, offline apart from online', async () => {
    const { pki: directory } = await workshop();
    const layout = ceremonyLayout(directory);
    expect(readdirSync(layout.offline).sort()).toEqual(['release-viewer.pem', 'root-1.pem', 'root-2.pem', 'root-3.pem', 'targets.pem']);
    expect(readdirSync(layout.online).sort()).toEqual(['assignment.pem', 'snapshot.pem', 'timestamp.pem']);
    expect(readdirSync(layout.metadata).sort()).toEqual(['1.root.json', '1.targets.json']);
    for (const folder of [layout.offline, layout.online]) {
      expect(statSync(folder).mode & 0o777).toBe(0o700);
      for (const name of readdirSync(folder)) expect(statSync(join(folder, name)).mode & 0o777).toBe(0o600);
    }
  });

  it('is held once per folder', async () => {
    const { pki: directory } = await workshop();
    await expect(createKeys({ directory, applications: [] })).rejects.toThrow(coded('CONFLICT'));
    await expect(createKeys({ directory: join(directory, 'other'), applications: ['Not An Id'] })).rejects.toThrow(coded('USAGE'));
  });

  it('lets further applications release later', async () => {
    const { pki: directory, tree, workspace } = await workshop();
    const layout = ceremonyLayout(directory);
    expect(await delegateApplication({ directory, application: 'editor' })).toMatchObject({ version: 2 });
    expect(await delegateApplication({ directory, application: 'editor' })).toMatchObject({ version: 2 });
    const keyFile = join(layout.offline, 'release-editor.pem');
    const signed = await signRelease({ directory: tree, application: 'editor', version: '1.0.0', keyFile, workspace });
    const root = readFileSync(join(layout.metadata, '1.root.json'));
    const targets = readFileSync(join(layout.metadata, '2.targets.json'));
    expect(verifyReleaseRole({ root, targets, application: 'editor', role: readFileSync(signed.roleFile), now: new Date() })).toHaveLength(1);
    await expect(delegateApplication({ directory: join(directory, 'nowhere'), application: 'x' })).rejects.toThrow(coded('KEY_UNUSABLE'));
  });
});
