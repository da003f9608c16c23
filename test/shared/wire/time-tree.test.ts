import { createHash } from 'node:crypto';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { MAX_TIME_PATH, MAX_TIME_QUESTIONS } from '../../../shared/base/limits.ts';
import { climb, timeTree } from '../../../shared/wire/time-tree.ts';

const nonces = (count: number): string[] => Array.from({ length: count }, (_, at) => createHash('sha256').update(String(at)).digest('hex'));

test('every nonce of any number of them leads to the root', () => {
  for (const count of [1, 2, 3, 4, 5, 7, 8, 9, 100, 1000, 1025]) {
    const asked = nonces(count);
    const tree = timeTree(asked);
    for (const [index, nonce] of asked.entries()) expect(climb(nonce, index, tree.path(index)), `${index} of ${count}`).toBe(tree.root);
  }
});

test('a full gateway fits into the longest path', () => {
  expect(timeTree(nonces(MAX_TIME_QUESTIONS)).path(0).length).toBeLessThanOrEqual(MAX_TIME_PATH);
});

test('a nonce that was not asked leads elsewhere, by whatever path is given', () => {
  const asked = nonces(8);
  const tree = timeTree(asked);
  const stranger = createHash('sha256').update('stranger').digest('hex');
  fc.assert(
    fc.property(fc.nat({ max: 7 }), fc.nat({ max: 255 }), fc.nat({ max: 3 }), (at, index, length) => {
      expect(climb(stranger, index, tree.path(at).slice(0, length))).not.toBe(tree.root);
    }),
  );
});

test('a node of the tree is no nonce: leaves and nodes are hashed apart', () => {
  const asked = nonces(4);
  const tree = timeTree(asked);
  const [, above = ''] = tree.path(0);
  // `above` is the node over leaves 2 and 3: as a nonce it would need one step less.
  expect(climb(above, 1, tree.path(0).slice(1))).not.toBe(tree.root);
});
