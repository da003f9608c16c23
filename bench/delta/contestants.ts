import { existsSync, statSync } from 'node:fs';
import path from 'node:path';
import { worker } from '../child.ts';

/** What all contestants get: the trees and, for those that know files alone, one plain tar of each. */
export interface Prepared {
  readonly old: string;
  readonly new: string;
  readonly oldTar: string;
  readonly newTar: string;
  readonly listings: string;
  readonly oldTarSize: number;
}

export interface Contestant {
  readonly name: string;
  make(prepared: Prepared, patch: string): readonly string[];
  /** `out` is a directory that exists. */
  apply(prepared: Prepared, patch: string, out: string): readonly string[];
}

export const WARDCAST = 'wardcast';
export const BSDIFF = 'bsdiff';
/** Those whose best a patch shall not exceed. */
export const PEERS: readonly string[] = [BSDIFF, 'xdelta3 -9', 'zstd --patch-from -19'];

const ours = (what: 'make' | 'apply', { old, new: now, listings }: Prepared, patch: string, into: string): string[] =>
  worker('delta/worker', { what, old, new: now, listings, patch, into });
const window = ({ oldTarSize }: Prepared): string => String(Math.max(1 << 20, 2 ** Math.ceil(Math.log2(oldTarSize))));

export const CONTESTANTS: readonly Contestant[] = [
  { name: WARDCAST, make: (p, patch) => ours('make', p, patch, ''), apply: (p, patch, out) => ours('apply', p, patch, out) },
  {
    name: BSDIFF,
    make: ({ oldTar, newTar }, patch) => ['bsdiff', oldTar, newTar, patch],
    apply: ({ oldTar }, patch, out) => ['bspatch', oldTar, path.join(out, 'tar'), patch],
  },
  {
    name: 'xdelta3 -9',
    make: (p, patch) => ['xdelta3', '-f', '-e', '-9', '-S', 'lzma', '-B', window(p), '-W', '16777216', '-s', p.oldTar, p.newTar, patch],
    apply: (p, patch, out) => ['xdelta3', '-f', '-d', '-B', window(p), '-s', p.oldTar, patch, path.join(out, 'tar')],
  },
  {
    name: 'zstd --patch-from -19',
    make: ({ oldTar, newTar }, patch) => ['zstd', '-q', '-q', '-f', '-19', '--long=31', '-T2', `--patch-from=${oldTar}`, newTar, '-o', patch],
    apply: ({ oldTar }, patch, out) => ['zstd', '-q', '-d', '-f', '--long=31', `--patch-from=${oldTar}`, patch, '-o', path.join(out, 'tar')],
  },
  {
    name: 'whole, xz -6',
    make: ({ newTar }, patch) => ['sh', '-c', 'exec xz -6 -T2 -k -c "$1" >"$2"', 'sh', newTar, patch],
    apply: (_, patch, out) => ['sh', '-c', 'exec xz -dc "$1" >"$2"', 'sh', patch, path.join(out, 'tar')],
  },
];

export function sizeOf(file: string): number {
  return existsSync(file) ? statSync(file).size : Number.NaN;
}
