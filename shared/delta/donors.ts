import { extname } from 'node:path/posix';
import { match } from './match.ts';
import { Operations } from './operations.ts';
import type { NewFile, OldTree, TreeFile } from './tree.ts';

const MiB = 1024 * 1024;
/** Bytes of old files that a new one without a base is compared with: so many for each of its own, within bounds. */
const SHARE = 32;
const LEAST = 1 * MiB;
const MOST = 64 * MiB;
/** Bytes that all new files of a patch together are compared with: seconds of work. */
export const DONOR_BUDGET = 512 * MiB;

/**
 * The old files that a new one may have been taken out of: first those with the same extension that changed or went, then the others that did, then the rest,
 * as many as its share and `budget` bytes hold.
 */
export function donorsFor(file: TreeFile, old: OldTree, files: readonly NewFile[], budget: number): number[] {
  const kept = new Set(files.map(({ sha256 }) => sha256));
  const extension = extname(file.path);
  const rank = ({ path, sha256 }: TreeFile): number => (kept.has(sha256) ? 2 : 0) + (extname(path) === extension ? 0 : 1);
  const byRank = [...old.files.entries()].sort(([a, one], [b, other]) => rank(one) - rank(other) || a - b);
  let room = Math.min(budget, MOST, Math.max(LEAST, SHARE * file.size));
  const chosen: number[] = [];
  for (const [index, { size }] of byRank) {
    if (size === 0 || size > room) continue;
    room -= size;
    chosen.push(index);
  }
  return chosen;
}

/** Operations that copy from several old files at once, each copy from one alone. */
export function matchDonors(contents: ReadonlyMap<number, Buffer>, old: OldTree, bytes: Buffer): Operations {
  const all = Buffer.concat([...contents.values()]);
  const ends: { readonly end: number; readonly toOld: number }[] = [];
  let at = 0;
  for (const [index, content] of contents) {
    ends.push({ end: at + content.length, toOld: (old.starts[index] ?? 0) - at });
    at += content.length;
  }
  const found = match(all, bytes, 0);
  const operations = new Operations();
  for (let i = 0; i < found.count; i++) {
    let place = found.old(i);
    let left = found.copy(i);
    if (left === 0) operations.add(0, 0, found.literal(i));
    while (left > 0) {
      const donor = ends.find(({ end }) => end > place);
      const part = Math.min(left, (donor?.end ?? 0) - place);
      left -= part;
      operations.add(place + (donor?.toOld ?? 0), part, left === 0 ? found.literal(i) : 0);
      place += part;
    }
  }
  return operations;
}
