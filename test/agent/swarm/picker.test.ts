import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { Candidates } from '../../../agent/swarm/picker.ts';
import { seededRandom } from '../../support/random.ts';

function candidatesOf(indexes: readonly number[]): Candidates {
  const candidates = new Candidates();
  for (const index of indexes) candidates.add(index);
  return candidates;
}

describe('the picker', () => {
  it('takes the rarest of a few', () => {
    const copies = new Map([
      [3, 5],
      [4, 2],
      [5, 9],
    ]);
    const candidates = candidatesOf([...copies.keys()]);
    const take = (): number | undefined =>
      candidates.take(
        () => true,
        (index) => copies.get(index) ?? 0,
        seededRandom(1),
      );
    expect([take(), take(), take(), take()]).toEqual([4, 3, 5, undefined]);
  });

  it('takes one of the rarer ones of very many', () => {
    const random = seededRandom(2);
    const candidates = candidatesOf(Array.from({ length: 10_000 }, (_, index) => index));
    for (let turn = 0; turn < 50; turn++) {
      const taken = candidates.take(
        () => true,
        (index) => index,
        random,
      );
      // The least of 48 of 10,000 is beyond a fourth once in a million.
      expect(taken).toBeLessThan(2500);
    }
  });

  it('chooses differently among equals', () => {
    const first = (seed: number): number | undefined =>
      candidatesOf([0, 1, 2, 3, 4, 5, 6, 7]).take(
        () => true,
        () => 1,
        seededRandom(seed),
      );
    expect(new Set(Array.from({ length: 60 }, (_, seed) => first(seed + 1))).size).toBe(8);
  });

  it('never offers what is not open, and everything that is, each once', () => {
    fc.assert(
      fc.property(fc.uniqueArray(fc.nat(400), { maxLength: 200 }), fc.nat(5), fc.integer(), (indexes, modulus, seed) => {
        const random = seededRandom(seed);
        const open = (index: number): boolean => index % (modulus + 1) === 0;
        const candidates = candidatesOf(indexes);
        const taken: number[] = [];
        for (let turns = 0; turns < 1000; turns++) {
          const index = candidates.take(open, (candidate) => candidate % 7, random);
          if (index !== undefined) taken.push(index);
          else if (candidates.size === 0) break;
        }
        expect(taken.toSorted((a, b) => a - b)).toEqual(indexes.filter(open).toSorted((a, b) => a - b));
      }),
    );
  });

  it('asks for what is open when little of it is', () => {
    const candidates = candidatesOf(Array.from({ length: 1000 }, (_, index) => index));
    const random = seededRandom(3);
    let found: number | undefined;
    // Each call drops what it met that is not open.
    for (let turns = 0; turns < 1000 && found === undefined; turns++)
      found = candidates.take(
        (index) => index === 777,
        () => 1,
        random,
      );
    expect(found).toBe(777);
  });
});
