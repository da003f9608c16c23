import { chmod, mkdir, readdir, readFile, readlink, stat, symlink, writeFile } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { describe, expect, it } from 'vitest';
import { DirectoryHandler } from '../../../agent/handlers/directory.ts';
import { type Disk, realDisk } from '../../../agent/handlers/disk.ts';
import type { InstalledRelease } from '../../../agent/handlers/install-handler.ts';
import { isWardcastError, WardcastError } from '../../../shared/base/errors.ts';
import { silentLog } from '../../../shared/base/log.ts';
import { sha256 } from '../../../shared/bundle/digest.ts';
import { type Hooks, printManifest } from '../../../shared/bundle/manifest.ts';
import { type ChunkFetcher, fetchOneByOne } from '../../../shared/store/chunk-fetcher.ts';
import type { ChunkSource } from '../../../shared/store/chunk-source.ts';
import { digests, fetcherOf, installHandlerContract, sourceOf } from '../../contract/install-handler.contract.ts';
import { bytesOf } from '../../support/files.ts';
import { type MadeRelease, madeRelease, type ReleaseParts } from '../../support/made-release.ts';
import { temporaryDirectory } from '../../support/temporary-directory.ts';

const big = bytesOf('steady', 700_000);
const one = madeRelease({
  version: '1.0.0',
  files: { VERSION: '1', 'lib/steady': big, 'lib/deep/er': 'x', empty: '', 'bin/run.sh': '#!/bin/sh\n' },
  links: { now: 'lib/deep' },
});
const two = madeRelease({ version: '2.0.0', files: { VERSION: '2', 'lib/steady': big, 'lib/more': bytesOf('more', 300_000), empty: '' } });
const three = madeRelease({ version: '3.0.0', files: { VERSION: '3' } });
const other = madeRelease({ application: 'driver', version: '1.0.0', files: { VERSION: 'd', twice: big, again: big } });

installHandlerContract('DirectoryHandler', async () => {
  const install = await temporaryDirectory();
  return {
    handler: new DirectoryHandler({ install, log: silentLog }),
    releases: [one, two, other],
    runningFiles: (application) => runningFiles(install, application),
  };
});

async function runningFiles(install: string, application: string): Promise<Map<string, Buffer> | undefined> {
  const root = join(install, application, 'current');
  try {
    await readlink(root);
  } catch {
    return undefined;
  }
  const files = new Map<string, Buffer>();
  const walk = async (inside: string): Promise<void> => {
    for (const entry of await readdir(join(root, inside), { withFileTypes: true })) {
      const path = join(inside, entry.name);
      if (entry.isDirectory()) await walk(path);
      else if (entry.isFile()) files.set(path, await readFile(join(root, path)));
    }
  };
  await walk('');
  return files;
}

async function bench(disk: Disk = realDisk): Promise<{ install: string; handler: DirectoryHandler; bring: (release: MadeRelease) => Promise<void> }> {
  const install = await temporaryDirectory();
  const handler = new DirectoryHandler({ install, log: silentLog, disk });
  const bring = async (release: MadeRelease): Promise<void> => {
    await handler.stage(release, await fetcherOf(release));
    await handler.activate(release);
    await handler.check(release);
    await handler.commit(release);
  };
  return { install, handler, bring };
}

const id = ({ application, version, manifestHash }: InstalledRelease): InstalledRelease => ({ application, version, manifestHash });

function counting(source: ChunkSource): { source: ChunkFetcher; got: string[] } {
  const got: string[] = [];
  const get: ChunkSource['get'] = (hash, options) => {
    got.push(hash);
    return source.get(hash, options);
  };
  return { got, source: fetchOneByOne({ has: (hash) => source.has(hash), get }, 'gateway') };
}

describe('the directory handler', () => {
  it('sets modes and makes links', async () => {
    const { install, bring } = await bench();
    await bring(one);
    const current = join(install, 'viewer', 'current');
    expect((await stat(join(current, 'bin/run.sh'))).mode & 0o777).toBe(0o755);
    expect((await stat(join(current, 'VERSION'))).mode & 0o777).toBe(0o644);
    expect(await readlink(join(current, 'now'))).toBe('lib/deep');
  });

  it('keeps the running release and the one before, and no other', async () => {
    const { install, bring } = await bench();
    for (const release of [one, two, three]) await bring(release);
    expect((await readdir(join(install, 'viewer', 'releases'))).sort()).toEqual([two.manifestHash, three.manifestHash].sort());
    expect((await readdir(join(install, 'viewer', 'manifests'))).sort()).toEqual([`${two.manifestHash}.json`, `${three.manifestHash}.json`].sort());
    expect(await readdir(join(install, 'viewer', 'staging'))).toEqual([]);
  });

  it('fetches a chunk that occurs twice once', async () => {
    const { handler } = await bench();
    const { source, got } = counting(await sourceOf(other));
    await handler.stage(other, source);
    expect(new Set(got).size).toBe(got.length);
    expect(got.length).toBe(other.chunks.size);
  });

  it('goes on after a cut with what is there and verifies it first', async () => {
    const { install, handler } = await bench();
    const hashes = [...two.chunks.keys()];
    const half = new Map(hashes.slice(0, Math.ceil(hashes.length / 2)).map((hash) => [hash, two.chunks.get(hash) ?? Buffer.alloc(0)]));
    await expect(handler.stage(two, await fetcherOf({ chunks: half }))).rejects.toThrow();
    // Somebody also damaged a file that was complete, and left things that do not belong there.
    const staging = join(install, 'viewer', 'staging', two.manifestHash);
    await writeFile(join(staging, 'VERSION'), 'X');
    await writeFile(join(staging, 'stranger'), 'X');
    await mkdir(join(staging, 'lib', 'strange'), { recursive: true });
    const { source, got } = counting(await sourceOf(two));
    await handler.stage(two, source);
    expect(got.length).toBeLessThan(two.chunks.size);
    await handler.activate(two);
    expect(digests(await runningFiles(install, 'viewer'))).toEqual(digests(two.contents));
  });

  it('writes through no link that stands in the staging directory', async () => {
    const { install, handler } = await bench();
    const outside = await temporaryDirectory();
    const staging = join(install, 'viewer', 'staging', one.manifestHash);
    await mkdir(staging, { recursive: true });
    await symlink(outside, join(staging, 'lib'));
    await writeFile(join(outside, 'victim'), 'untouched');
    await symlink(join(outside, 'victim'), join(staging, 'VERSION'));
    await handler.stage(one, await fetcherOf(one));
    expect(await readdir(outside)).toEqual(['victim']);
    expect(await readFile(join(outside, 'victim'), 'utf8')).toBe('untouched');
  });

  it('mends an old release that was damaged on disk before it runs again', async () => {
    const { install, handler, bring } = await bench();
    await bring(one);
    await bring(two);
    await writeFile(join(install, 'viewer', 'releases', one.manifestHash, 'VERSION'), 'garbage');
    await chmod(join(install, 'viewer', 'releases', one.manifestHash, 'bin/run.sh'), 0o644);
    const { source, got } = counting(await sourceOf(one));
    await handler.stage(one, source);
    expect(got).toHaveLength(1);
    await handler.activate(one);
    expect(digests(await runningFiles(install, 'viewer'))).toEqual(digests(one.contents));
    expect((await stat(join(install, 'viewer', 'current', 'bin/run.sh'))).mode & 0o777).toBe(0o755);
  });

  it('reports what the device shows, not what it remembers: a reflashed older release, a lost manifest', async () => {
    const { install, handler, bring } = await bench();
    await bring(one);
    await bring(two);
    const current = join(install, 'viewer', 'current');
    await realDisk.unlink(current);
    await symlink(`releases/${one.manifestHash}`, current);
    expect(await new DirectoryHandler({ install, log: silentLog }).inventory()).toEqual([id(one)]);
    await writeFile(join(install, 'viewer', 'manifests', `${one.manifestHash}.json`), '{}');
    expect(await handler.inventory()).toEqual([]);
    // And what it cannot read it installs again.
    await bring(one);
    expect(await handler.inventory()).toEqual([id(one)]);
  });

  it('checks free space before the first fetch', async () => {
    // A disk with one free page: only what the handler asks of it.
    const full = new Proxy<Disk>(realDisk, { get: (disk, name) => (name === 'statfs' ? async () => ({ bavail: 1, bsize: 4096 }) : Reflect.get(disk, name)) });
    const { handler } = await bench(full);
    const { source, got } = counting(await sourceOf(two));
    await expect(handler.stage(two, source)).rejects.toSatisfy((error) => isWardcastError(error, 'SPACE_SHORT'));
    expect(got).toEqual([]);
  });

  it('tells a disk that runs full on the way from one that fails', async () => {
    for (const [code, expected] of [
      ['ENOSPC', 'SPACE_SHORT'],
      ['EIO', 'STORAGE_FAILED'],
    ] as const) {
      const failing: Disk = {
        ...realDisk,
        rename: async () => {
          throw Object.assign(new Error(code), { code });
        },
      };
      const { handler } = await bench(failing);
      await expect(handler.stage(three, await fetcherOf(three))).rejects.toSatisfy((error) => isWardcastError(error, expected));
    }
  });

  it('refuses a manifest whose files and chunks disagree for good', async () => {
    const { handler } = await bench();
    const wrong = madeRelease({ files: { a: big } });
    const [file] = wrong.manifest.files;
    const forged = { ...wrong.manifest, files: file === undefined ? [] : [{ ...file, sha256: '0'.repeat(64) }] };
    const release = { ...wrong, manifest: forged, manifestHash: sha256(printManifest(forged)) };
    await expect(handler.stage(release, await fetcherOf(wrong))).rejects.toSatisfy((error) => isWardcastError(error, 'MANIFEST_INVALID'));
  });
});

describe('hooks', () => {
  const script = (body: string): string => `#!/bin/sh\n${body}\n`;
  const withHooks = (version: string, bodies: Partial<Record<keyof Hooks, string>>, timeoutMs?: number): MadeRelease => {
    const files: Record<string, string> = { VERSION: version };
    const hooks: Partial<Record<keyof Hooks, { path: string; timeoutMs?: number }>> = {};
    for (const name of ['preActivate', 'postActivate', 'check', 'rollback'] as const) {
      const body = bodies[name];
      if (body === undefined) continue;
      files[`hooks/${name}.sh`] = script(body);
      hooks[name] = { path: `hooks/${name}.sh`, ...(timeoutMs === undefined ? {} : { timeoutMs }) };
    }
    const parts: ReleaseParts = { version, files, hooks };
    return madeRelease(parts);
  };
  const record = (file: string): string =>
    `echo "$WARDCAST_HOOK $WARDCAST_APPLICATION $WARDCAST_VERSION $WARDCAST_RELEASE_DIR [$WARDCAST_PREVIOUS_VERSION] [$WARDCAST_PREVIOUS_DIR] $PWD" >> ${file}`;

  it('are run in order with the documented environment', async () => {
    const { install, bring, handler } = await bench();
    const file = join(install, 'told');
    const all = { preActivate: record(file), postActivate: record(file), check: record(file), rollback: record(file) };
    const a = withHooks('1.0.0', all);
    const b = withHooks('2.0.0', all);
    await bring(a);
    await handler.stage(b, await fetcherOf(b));
    await handler.activate(b);
    await handler.check(b);
    await handler.rollback(b, id(a));
    const dir = (release: MadeRelease): string => resolve(install, 'viewer', 'releases', release.manifestHash);
    const line = (hook: string, me: MadeRelease, other?: MadeRelease): string =>
      `${hook} viewer ${me.version} ${dir(me)} [${other?.version ?? ''}] [${other === undefined ? '' : dir(other)}] ${dir(me)}`;
    expect((await readFile(file, 'utf8')).trim().split('\n')).toEqual([
      line('preActivate', a),
      line('postActivate', a),
      line('check', a),
      line('preActivate', b, a),
      line('postActivate', b, a),
      line('check', b, a),
      line('rollback', b, a),
      line('postActivate', a, b),
    ]);
  });

  it('stop the installation before the swap when preActivate fails', async () => {
    const { handler, bring } = await bench();
    await bring(one);
    const bad = withHooks('2.0.0', { preActivate: 'echo no room for this; exit 3' });
    await handler.stage(bad, await fetcherOf(bad));
    await expect(handler.activate(bad)).rejects.toSatisfy(
      (error) => isWardcastError(error, 'HOOK_FAILED') && error.message.includes('exit code 3: no room for this'),
    );
    expect(await handler.running('viewer')).toEqual(id(one));
  });

  it('ask for a later moment with exit code 75 of preActivate', async () => {
    const { handler } = await bench();
    const later = withHooks('2.0.0', { preActivate: 'exit 75' });
    await handler.stage(later, await fetcherOf(later));
    await expect(handler.activate(later)).rejects.toSatisfy((error) => isWardcastError(error, 'BUSY'));
    expect(await handler.running('viewer')).toBeUndefined();
  });

  it('are asked again when the health check says "not yet" with exit code 75', async () => {
    const { handler, install } = await bench();
    const file = join(install, 'tries');
    const slow = withHooks('2.0.0', { check: `echo x >> ${file}; [ $(wc -l < ${file}) -ge 2 ] || exit 75` });
    await handler.stage(slow, await fetcherOf(slow));
    await handler.activate(slow);
    await handler.check(slow);
    expect((await readFile(file, 'utf8')).length).toBe(4);
  });

  it('fail the health check with any other exit code', async () => {
    const { handler } = await bench();
    const ill = withHooks('2.0.0', { check: 'exit 1' });
    await handler.stage(ill, await fetcherOf(ill));
    await handler.activate(ill);
    await expect(handler.check(ill)).rejects.toSatisfy((error) => isWardcastError(error, 'CHECK_FAILED'));
  });

  it('are killed with all their children when they take too long', async () => {
    const { handler, install } = await bench();
    const pids = join(install, 'pids');
    const stuck = withHooks('2.0.0', { postActivate: `sleep 1000 & echo $! > ${pids}; wait` }, 700);
    await handler.stage(stuck, await fetcherOf(stuck));
    await expect(handler.activate(stuck)).rejects.toSatisfy((error) => isWardcastError(error, 'HOOK_TIMEOUT'));
    const child = Number(await readFile(pids, 'utf8'));
    await gone(child);
  });

  it('may write without end: only the end is kept', async () => {
    const { handler } = await bench();
    const loud = withHooks('2.0.0', { preActivate: 'i=0; while [ $i -lt 3000 ]; do echo "line $i of a long story"; i=$((i+1)); done; exit 1' });
    await handler.stage(loud, await fetcherOf(loud));
    const error = await handler.activate(loud).catch((e: unknown) => e);
    expect(error).toBeInstanceOf(WardcastError);
    expect(String(error).length).toBeLessThan(5000);
    expect(String(error)).toContain('line 2999');
  });

  it('that are no program for this machine fail by name', async () => {
    const { handler } = await bench();
    const foreign = madeRelease({ version: '2.0.0', files: { 'hook.sh': 'MZ\0\0' }, hooks: { preActivate: { path: 'hook.sh' } } });
    await handler.stage(foreign, await fetcherOf(foreign));
    await expect(handler.activate(foreign)).rejects.toSatisfy((error) => isWardcastError(error, 'HOOK_FAILED'));
  });
});

async function gone(pid: number): Promise<void> {
  for (;;) {
    try {
      process.kill(pid, 0);
      // A zombie nobody has reaped is dead too.
      if (/\) Z /.test(await readFile(`/proc/${pid}/stat`, 'utf8'))) return;
    } catch {
      return;
    }
    await new Promise((tick) => setTimeout(tick, 20));
  }
}
