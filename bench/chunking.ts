import { execFile } from 'node:child_process';
import { mkdir, rm, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { promisify } from 'node:util';
import { split } from '../shared/bundle/chunker.ts';
import { sha256 } from '../shared/bundle/digest.ts';
import { seededBytes } from './content.ts';
import { type Bench, median, type Row, round } from './row.ts';

const run = promisify(execFile);
const MiB = 1 << 20;

/** Chunking of one buffer in memory, beside SHA-256 alone (the floor of any content addressing) and casync from file to store. */
export const bench: Bench = async ({ quick, runs, directory, note }) => {
  const size = quick ? 32 * MiB : 256 * MiB;
  const bytes = seededBytes(size);
  const file = path.join(directory, 'content');
  await writeFile(file, bytes);

  const contestants: Record<string, () => unknown> = {
    wardcast: () => {
      for (const chunk of split(bytes)) if (chunk.length === 0) throw new Error('empty chunk');
    },
    'wardcast chunk and hash': () => {
      for (const chunk of split(bytes)) sha256(chunk);
    },
    sha256: () => void sha256(bytes),
    casync: async () => {
      const store = path.join(directory, 'store');
      await mkdir(store);
      await run('casync', ['make', '--chunk-size=65536', `--store=${store}`, path.join(directory, 'x.caibx'), file]);
      await rm(store, { recursive: true });
    },
  };
  const speeds = new Map<string, number[]>(Object.keys(contestants).map((name) => [name, []]));
  for (let i = 0; i < runs; i++)
    for (const [name, work] of Object.entries(contestants)) {
      const start = performance.now();
      await work();
      const mbps = size / 1e6 / ((performance.now() - start) / 1000);
      speeds.get(name)?.push(mbps);
      note(`run ${i + 1}: ${name} ${Math.round(mbps)} MB/s`);
    }
  const reference = median(speeds.get('sha256') ?? []);
  return [...speeds].map(
    ([contestant, all]): Row => ({ bench: 'chunking', contestant, mib: size / MiB, mbPerSecond: round(median(all)), ratio: round(median(all) / reference) }),
  );
};
