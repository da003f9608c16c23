import { execFile } from 'node:child_process';
import { mkdir, readFile, rm, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { promisify } from 'node:util';
import { start } from './child.ts';
import { BSDIFF, CONTESTANTS, type Contestant, PEERS, type Prepared, sizeOf, WARDCAST } from './delta/contestants.ts';
import { type Listed, list } from './delta/listing.ts';
import { type Pair, pairs, unpacked } from './delta/pairs.ts';
import { type Bench, median, type Row, round } from './row.ts';

const run = promisify(execFile);
const DIGITS = 4;

interface Usage {
  readonly seconds: number;
  readonly mib: number;
}
interface Result {
  readonly bytes: number;
  readonly make: Usage;
  readonly apply: Usage;
}

/** Both releases, and what must come out: files, or for those that know tars alone, the tar. */
interface Ready extends Prepared {
  readonly wanted: readonly Listed[];
  readonly tarListed: readonly Listed[];
  readonly size: number;
}

/**
 * Patches between real releases: bytes, time and peak memory to make and to apply, each in a process of its own, beside bsdiff, xdelta3, zstd and the
 * whole in xz. Every patch is applied and what it gives compared by sha256. `ratio` is bytes / those of the best of the three.
 * We get the trees; the others, which know files alone, one tar of each without times and owners.
 */
export const bench: Bench = async ({ quick, runs, directory, signal, note, pair }) => {
  const rows: Row[] = [];
  const all: Pair[] = pair === undefined ? await pairs(quick, directory) : [{ name: `${pair.old} → ${pair.new}`, ...pair }];
  for (const [index, one] of all.entries()) {
    const folder = path.join(directory, `pair-${index}`);
    const prepared = await prepare(one, folder);
    const results = new Map<string, Result[]>(CONTESTANTS.map(({ name }) => [name, []]));
    for (let turn = 0; turn < runs; turn++)
      for (const contestant of CONTESTANTS) {
        signal.throwIfAborted();
        const result = await compete(contestant, prepared, path.join(folder, 'work'), signal);
        results.get(contestant.name)?.push(result);
        const { bytes, make, apply } = result;
        note(
          `${one.name}, run ${turn + 1}: ${contestant.name} ${bytes} bytes, made in ${make.seconds} s and ${make.mib} MiB, applied in ${apply.seconds} s and ${apply.mib} MiB`,
        );
      }
    rows.push(...toRows(one.name, prepared.size, results));
    await rm(folder, { recursive: true });
  }
  return rows;
};

async function prepare({ old, new: now }: Pair, folder: string): Promise<Ready> {
  const trees = { old: await unpacked(old, path.join(folder, 'old')), new: await unpacked(now, path.join(folder, 'new')) };
  await mkdir(folder, { recursive: true });
  // Alone in its folder, and named as what the others make of it.
  const [oldTar, newTar] = [path.join(folder, 'old.tar'), path.join(folder, 'whole', 'tar')];
  await mkdir(path.dirname(newTar));
  await tar(trees.old, oldTar);
  await tar(trees.new, newTar);
  const listings = path.join(folder, 'listings.json');
  const files = { old: await list(trees.old), new: await list(trees.new) };
  await writeFile(listings, JSON.stringify(files));
  return {
    ...trees,
    oldTar,
    newTar,
    listings,
    oldTarSize: sizeOf(oldTar),
    wanted: files.new,
    tarListed: await list(path.dirname(newTar)),
    size: files.new.reduce((sum, { size }) => sum + size, 0),
  };
}

async function tar(directory: string, file: string): Promise<void> {
  await run('tar', ['--sort=name', '--mtime=@0', '--owner=0', '--group=0', '--numeric-owner', '--format=gnu', '-cf', file, '-C', directory, '.']);
}

async function compete(contestant: Contestant, prepared: Ready, folder: string, signal: AbortSignal): Promise<Result> {
  await rm(folder, { recursive: true, force: true });
  const out = path.join(folder, 'out');
  await mkdir(out, { recursive: true });
  const patch = path.join(folder, 'patch');
  const make = await timed(contestant.make(prepared, patch), folder, signal);
  const apply = await timed(contestant.apply(prepared, patch, out), folder, signal);
  const made = await list(out);
  const wanted = contestant.name === WARDCAST ? prepared.wanted : prepared.tarListed;
  if (JSON.stringify(made) !== JSON.stringify(wanted)) throw new Error(`${contestant.name} did not give the new release`);
  return { bytes: sizeOf(patch), make, apply };
}

async function timed(command: readonly string[], folder: string, signal: AbortSignal): Promise<Usage> {
  const report = path.join(folder, 'time');
  const child = start(['time', '-f', '%e %M', '-o', report, ...command], ['ignore', 'ignore', 'inherit']);
  const kill = (): void => void child.kill('SIGKILL');
  signal.addEventListener('abort', kill, { once: true });
  const code = await new Promise<number | null>((resolve, reject) => child.once('error', reject).once('exit', resolve));
  signal.removeEventListener('abort', kill);
  if (code !== 0) throw new Error(`${command.join(' ')} ended with ${code}`);
  const [seconds = Number.NaN, kib = Number.NaN] = (await readFile(report, 'utf8')).trim().split(' ').map(Number);
  return { seconds, mib: Math.round(kib / 1024) };
}

function toRows(pair: string, size: number, results: ReadonlyMap<string, readonly Result[]>): Row[] {
  const of = (name: string, what: (result: Result) => number): number => median((results.get(name) ?? []).map(what));
  const best = Math.min(...PEERS.map((name) => of(name, ({ bytes }) => bytes)));
  // Nothing takes no time: the clock has hundredths.
  const share = (name: string, what: (result: Result) => number): number => round(of(name, what) / Math.max(0.01, of(BSDIFF, what)), DIGITS);
  return [...results.keys()].map((contestant) => {
    const bytes = of(contestant, (result) => result.bytes);
    return {
      bench: 'delta',
      contestant,
      pair,
      bytes,
      percent: round((100 * bytes) / size, DIGITS),
      makeSeconds: of(contestant, ({ make }) => make.seconds),
      makeMib: of(contestant, ({ make }) => make.mib),
      applySeconds: of(contestant, ({ apply }) => apply.seconds),
      applyMib: of(contestant, ({ apply }) => apply.mib),
      makeTimeOfBsdiff: share(contestant, ({ make }) => make.seconds),
      makeMemoryOfBsdiff: share(contestant, ({ make }) => make.mib),
      applyTimeOfBspatch: share(contestant, ({ apply }) => apply.seconds),
      ratio: round(bytes / best, DIGITS),
    };
  });
}
