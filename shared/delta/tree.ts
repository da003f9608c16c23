import { createHash } from 'node:crypto';

/** Bytes somewhere that can be read at any place: an open file, a buffer, chunks of a store. */
export interface Reader {
  readonly size: number;
  /** Fills the whole buffer with what stands at `position`; never asked for bytes beyond `size`. Rejects when it cannot. */
  read(buffer: Uint8Array, position: number): Promise<void> | void;
}

/** A file of a release that a patch is made from or applied to. */
export interface TreeFile {
  readonly path: string;
  readonly size: number;
  /** Of the content, as lower-case hex. */
  readonly sha256: string;
  readonly reader: Reader;
}

/** What a patch must know of a new file when it is applied: the rest is the manifest's business. */
export interface NewFile {
  readonly size: number;
  readonly sha256: string;
}

/** The old release as one space of addresses: its files one after the other by path (UTF-16 code units), whatever order they came in. */
export class OldTree {
  readonly files: readonly TreeFile[];
  /** Where each file starts. */
  readonly starts: readonly number[];
  readonly size: number;

  constructor(files: readonly TreeFile[]) {
    this.files = [...files].sort((a, b) => (a.path < b.path ? -1 : a.path > b.path ? 1 : 0));
    const starts: number[] = [];
    let size = 0;
    for (const file of this.files) {
      starts.push(size);
      size += file.size;
    }
    this.starts = starts;
    this.size = size;
  }

  /** The file that holds this place, or -1. Empty files hold none. */
  indexAt(position: number): number {
    if (!(position >= 0 && position < this.size)) return -1;
    let low = 0;
    let high = this.starts.length - 1;
    while (low < high) {
      const middle = (low + high + 1) >> 1;
      if ((this.starts[middle] ?? 0) <= position) low = middle;
      else high = middle - 1;
    }
    return low;
  }
}

/** The places of the files whose content stands at no earlier one: a patch holds, and applying gives, every content once. */
export function distinct(files: readonly NewFile[]): number[] {
  const seen = new Set<string>();
  return [...files.keys()].filter((index) => {
    const key = `${files[index]?.sha256} ${files[index]?.size}`;
    if (seen.has(key)) return false;
    seen.add(key);
    return true;
  });
}

/** Bytes of the digest in a patch's head: it tells the wrong release apart from the right one; it protects nothing, the manifest's hashes do. */
export const PAIR_BYTES = 8;

/** What both ends must agree on before a patch makes sense: all old contents by path, all new ones in their order. */
export function pairDigest(old: OldTree, files: readonly NewFile[]): Buffer {
  const hash = createHash('sha256');
  for (const { size, sha256 } of old.files) hash.update(`${sha256} ${size}\n`);
  hash.update('\n');
  for (const { size, sha256 } of files) hash.update(`${sha256} ${size}\n`);
  return hash.digest().subarray(0, PAIR_BYTES);
}
