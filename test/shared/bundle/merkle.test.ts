import { createHash } from 'node:crypto';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  consistencyPath,
  inclusionPath,
  isExtension,
  isIncluded,
  leafHash,
  nodeHash,
  nodesOf,
  printPath,
  readPath,
  rootOf,
} from '../../../shared/bundle/merkle.ts';

/** The inputs of Certificate Transparency's own reference tests. */
const INPUTS = ['', '00', '10', '2021', '3031', '40414243', '5051525354555657', '606162636465666768696a6b6c6d6e6f'].map((hex) => Buffer.from(hex, 'hex'));
const leaves = (count: number): Buffer[] => Array.from({ length: count }, (_, at) => leafHash(Buffer.from(`leaf ${at}`)));

describe('a Merkle tree', () => {
  it('has the known hashes', () => {
    expect(rootOf(nodesOf([]), 0).toString('hex')).toBe(createHash('sha256').digest('hex'));
    expect(leafHash(Buffer.alloc(0)).toString('hex')).toBe('6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d');
    expect(rootOf(nodesOf(INPUTS.map(leafHash)), 8).toString('hex')).toBe('5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328');
  });

  it('proves what the example of RFC 9162, section 2.1.5, says', () => {
    const d = leaves(7);
    const [a, b, c, dd, e, f, j] = d;
    if (!(a && b && c && dd && e && f && j)) throw new Error('seven leaves');
    const [g, h, i] = [nodeHash(a, b), nodeHash(c, dd), nodeHash(e, f)];
    const [k, l] = [nodeHash(g, h), nodeHash(i, j)];
    const nodes = nodesOf(d);
    expect(rootOf(nodes, 7)).toEqual(nodeHash(k, l));
    expect(inclusionPath(nodes, 0, 7)).toEqual([b, h, l]);
    expect(inclusionPath(nodes, 3, 7)).toEqual([c, g, l]);
    expect(inclusionPath(nodes, 4, 7)).toEqual([f, j, k]);
    expect(inclusionPath(nodes, 6, 7)).toEqual([i, k]);
    expect(consistencyPath(nodes, 3, 7)).toEqual([c, dd, g, l]);
    expect(consistencyPath(nodes, 4, 7)).toEqual([l]);
    expect(consistencyPath(nodes, 6, 7)).toEqual([i, j, k]);
  });

  it('proves every leaf of every size, and that every size begins every larger one', () => {
    const nodes = nodesOf(leaves(40));
    for (let size = 1; size <= 40; size++) {
      const root = rootOf(nodes, size);
      for (let index = 0; index < size; index++) {
        expect(isIncluded(nodes(0, index), { index, size, path: inclusionPath(nodes, index, size) }, root)).toBe(true);
      }
      for (let from = 0; from <= size; from++) {
        expect(isExtension({ size: from, root: rootOf(nodes, from) }, { size, root }, consistencyPath(nodes, from, size))).toBe(true);
      }
    }
  });

  it('proves nothing that is not so: another leaf, place, size, root or path', () => {
    const any = fc.tuple(fc.integer({ min: 1, max: 300 }), fc.nat(), fc.nat(), fc.nat({ max: 4 }));
    fc.assert(
      fc.property(any, ([size, pick, where, what]) => {
        const all = leaves(size);
        const nodes = nodesOf(all);
        const index = pick % size;
        const path = inclusionPath(nodes, index, size);
        const leaf = nodes(0, index);
        const root = rootOf(nodes, size);
        const bent = path.map((hash, at) => (at === where % Math.max(1, path.length) ? flipped(hash, where) : hash));
        const other = (index + 1 + (where % size)) % size;
        const lies = [
          { leaf: flipped(leaf, where), index, size, path, root },
          { leaf, index: other === index ? size : other, size, path, root },
          { leaf, index, size, path: [...path, leaf], root },
          { leaf, index, size, path: path.length === 0 ? [leaf] : bent, root },
          { leaf, index, size, path, root: flipped(root, where) },
        ];
        const lie = lies[what];
        return lie !== undefined && !isIncluded(lie.leaf, lie, lie.root);
      }),
    );
  });

  it('takes no rewritten history for a longer one', () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 200 }), fc.integer({ min: 0, max: 200 }), fc.nat(), (from, more, pick) => {
        const all = leaves(from + more);
        const old = { size: from, root: rootOf(nodesOf(all), from) };
        const at = pick % from;
        const rewritten = nodesOf(all.map((leaf, index) => (index === at ? flipped(leaf, pick) : leaf)));
        const now = { size: from + more, root: rootOf(rewritten, from + more) };
        return !isExtension(old, now, consistencyPath(rewritten, from, from + more));
      }),
    );
  });

  it('has paths that travel as text, and no others', () => {
    const path = leaves(5);
    expect(readPath(printPath(path))).toEqual(path);
    expect(readPath('')).toEqual([]);
    expect(readPath(Buffer.alloc(33).toString('base64'))).toBeUndefined();
  });
});

function flipped(hash: Buffer, where: number): Buffer {
  const copy = Buffer.from(hash);
  const bit = where % 256;
  copy.writeUInt8(copy.readUInt8(bit >> 3) ^ (1 << (bit & 7)), bit >> 3);
  return copy;
}
