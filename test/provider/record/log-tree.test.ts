import { expect, it } from 'vitest';
import { LogTree, TILE } from '../../../provider/record/log-tree.ts';
import { sha256 } from '../../../shared/bundle/digest.ts';
import { inclusionPath, isIncluded, leafHash, nodesOf, rootOf } from '../../../shared/bundle/merkle.ts';

const SIZE = TILE * TILE + 3 * TILE + 5;
const hashes = Array.from({ length: SIZE }, (_, at) => sha256(Buffer.from(String(at))));
const leaves = hashes.map((hash) => leafHash(Buffer.from(hash, 'hex')));
const leafOf = (sequence: number): string => hashes[sequence - 1] ?? '';

it('the tree over the log is the one that RFC 9162 describes, grown, opened again, and opened without its tiles', () => {
  const tiles = new Map<string, Buffer>();
  const store = { get: (level: number, index: number): Buffer | undefined => tiles.get(`${level}/${index}`) };
  const grown = new LogTree(store, 0, () => '');
  for (const hash of hashes) for (const { level, index, bytes } of grown.append(hash)) tiles.set(`${level}/${index}`, bytes);
  expect([...tiles.keys()].filter((name) => name.startsWith('1/'))).toEqual(['1/0']);
  expect(tiles.size).toBe(TILE + 3 + 1);
  const read: number[] = [];
  const opened = new LogTree(store, SIZE, (sequence) => {
    read.push(sequence);
    return leafOf(sequence);
  });
  expect(read).toEqual(Array.from({ length: 5 }, (_, at) => SIZE - 4 + at));
  const without = new LogTree({ get: () => undefined }, 3 * TILE + 5, leafOf);
  const plain = nodesOf(leaves);
  for (const size of [0, 1, 255, 256, 257, 65_535, 65_536, 65_537, SIZE - 1, SIZE]) {
    const root = rootOf(plain, size);
    for (const tree of size <= without.size ? [grown, opened, without] : [grown, opened]) expect(tree.root(size)).toEqual(root);
    for (const index of [0, 255, 256, size - 1]) {
      if (index < 0 || index >= size) continue;
      const path = inclusionPath(opened.nodes, index, size);
      expect(isIncluded(leaves[index] ?? root, { index, size, path }, root)).toBe(true);
    }
  }
  const more = sha256(Buffer.from('one more'));
  expect(opened.append(more)).toEqual(grown.append(more));
  expect(opened.root(SIZE + 1)).toEqual(grown.root(SIZE + 1));
});
