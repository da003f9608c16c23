import { hash } from 'node:crypto';

/**
 * Merkle trees as RFC 9162, section 2.1, has them (and RFC 6962 before it): SHA-256, a leaf's hash over 0x00 and its data, a node's over 0x01 and
 * its two children, and an unbalanced tree splits at the largest power of two below its size. Pure.
 */

/** Bytes of one hash. */
export const HASH_SIZE = 32;

/** Hash of the complete subtree of 2^level leaves that starts at leaf index·2^level. */
export type Nodes = (level: number, index: number) => Buffer;

export function leafHash(data: Uint8Array): Buffer {
  return hash('sha256', Buffer.concat([LEAF, data]), 'buffer');
}

export function nodeHash(left: Uint8Array, right: Uint8Array): Buffer {
  return hash('sha256', Buffer.concat([NODE, left, right], 2 * HASH_SIZE + 1), 'buffer');
}

const LEAF = Buffer.from([0]);
const NODE = Buffer.from([1]);
/** Root of the tree without leaves. */
const EMPTY = hash('sha256', Buffer.alloc(0), 'buffer');

/** The nodes of a tree whose leaf hashes are all at hand; each is computed once. */
export function nodesOf(leaves: readonly Buffer[]): Nodes {
  const levels: Buffer[][] = [[...leaves]];
  const at: Nodes = (level, index) => {
    const row = levels[level] ?? [];
    levels[level] = row;
    const node = row[index] ?? nodeHash(at(level - 1, 2 * index), at(level - 1, 2 * index + 1));
    row[index] = node;
    return node;
  };
  return at;
}

/** Root of the first `size` leaves (section 2.1.1). */
export function rootOf(nodes: Nodes, size: number): Buffer {
  return size === 0 ? EMPTY : range(nodes, 0, size);
}

/** What proves that leaf `index` is one of the first `size` (section 2.1.3.1), lowest first. */
export function inclusionPath(nodes: Nodes, index: number, size: number): Buffer[] {
  return pathOf(nodes, index, 0, size);
}

/** As inclusionPath, for many leaves of one tree: they share the incomplete subtrees at its end. */
export function inclusionPaths(nodes: Nodes, size: number): (index: number) => Buffer[] {
  const ends = new Map<number, Buffer>();
  const rangeOf: typeof range = (of, start, end) => {
    const known = end === size ? ends.get(start) : undefined;
    if (known !== undefined) return known;
    const root = range(of, start, end);
    if (end === size) ends.set(start, root);
    return root;
  };
  return (index) => pathOf(nodes, index, 0, size, rangeOf);
}

/** What proves that the first `from` leaves are the beginning of the first `to` (section 2.1.4.1); empty when either is trivial. */
export function consistencyPath(nodes: Nodes, from: number, to: number): Buffer[] {
  return from === 0 || from === to ? [] : subproof(nodes, from, 0, to, true);
}

/** Section 2.1.3.2. */
export function isIncluded(leaf: Buffer, { index, size, path }: { index: number; size: number; path: readonly Buffer[] }, root: Buffer): boolean {
  if (index >= size) return false;
  let fn = index;
  let sn = size - 1;
  let node = leaf;
  for (const sibling of path) {
    if (sn === 0) return false;
    if (fn % 2 === 1 || fn === sn) {
      node = nodeHash(sibling, node);
      while (fn % 2 === 0 && fn !== 0) [fn, sn] = [half(fn), half(sn)];
    } else node = nodeHash(node, sibling);
    [fn, sn] = [half(fn), half(sn)];
  }
  return sn === 0 && node.equals(root);
}

/** Is the tree of `from` the beginning of the tree of `to`? Section 2.1.4.2. */
export function isExtension(
  from: { readonly size: number; readonly root: Buffer },
  to: { readonly size: number; readonly root: Buffer },
  path: readonly Buffer[],
): boolean {
  if (from.size > to.size) return false;
  if (from.size === to.size) return path.length === 0 && from.root.equals(to.root);
  if (from.size === 0) return path.length === 0 && from.root.equals(EMPTY);
  const [first, ...rest] = isPowerOfTwo(from.size) ? [from.root, ...path] : path;
  if (first === undefined) return false;
  let fn = from.size - 1;
  let sn = to.size - 1;
  while (fn % 2 === 1) [fn, sn] = [half(fn), half(sn)];
  let older = first;
  let newer = first;
  for (const sibling of rest) {
    if (sn === 0) return false;
    if (fn % 2 === 1 || fn === sn) {
      older = nodeHash(sibling, older);
      newer = nodeHash(sibling, newer);
      while (fn % 2 === 0 && fn !== 0) [fn, sn] = [half(fn), half(sn)];
    } else newer = nodeHash(newer, sibling);
    [fn, sn] = [half(fn), half(sn)];
  }
  return sn === 0 && older.equals(from.root) && newer.equals(to.root);
}

/** A path as it travels: its hashes one after the other, in base64. */
export function printPath(path: readonly Buffer[]): string {
  return Buffer.concat(path).toString('base64');
}

/** Undefined when it is no whole number of hashes. */
export function readPath(text: string): Buffer[] | undefined {
  const bytes = Buffer.from(text, 'base64');
  if (bytes.length % HASH_SIZE !== 0) return undefined;
  return Array.from({ length: bytes.length / HASH_SIZE }, (_, at) => bytes.subarray(at * HASH_SIZE, (at + 1) * HASH_SIZE));
}

/** Root of the leaves [start, end); `start` is a multiple of the power of two that is not below the length, as all splits leave it. */
function range(nodes: Nodes, start: number, end: number): Buffer {
  const length = end - start;
  if (isPowerOfTwo(length)) return nodes(Math.log2(length), start / length);
  const middle = start + splitOf(length);
  return nodeHash(range(nodes, start, middle), range(nodes, middle, end));
}

function pathOf(nodes: Nodes, index: number, start: number, end: number, rangeOf = range): Buffer[] {
  const path: Buffer[] = [];
  for (let [from, to] = [start, end]; to - from > 1; ) {
    const middle = from + splitOf(to - from);
    if (index < middle) {
      path.push(rangeOf(nodes, middle, to));
      to = middle;
    } else {
      path.push(rangeOf(nodes, from, middle));
      from = middle;
    }
  }
  return path.reverse();
}

function subproof(nodes: Nodes, from: number, start: number, end: number, whole: boolean): Buffer[] {
  if (from === end) return whole ? [] : [range(nodes, start, end)];
  const middle = start + splitOf(end - start);
  return from <= middle
    ? [...subproof(nodes, from, start, middle, whole), range(nodes, middle, end)]
    : [...subproof(nodes, from, middle, end, false), range(nodes, start, middle)];
}

/** The largest power of two below `length`, which is 2 or more. Sizes are safe integers, above what 32-bit operators can take. */
function splitOf(length: number): number {
  let split = 1;
  while (split * 2 < length) split *= 2;
  return split;
}

function isPowerOfTwo(value: number): boolean {
  return Number.isInteger(Math.log2(value)) && 2 ** Math.log2(value) === value;
}

function half(value: number): number {
  return Math.floor(value / 2);
}
