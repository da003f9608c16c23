import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { chunksToDelete, type StoredChunk } from '../../../gateway/retention/policy.ts';

const chunk = fc.record({ hash: fc.nat(65535).map((n) => n.toString(16).padStart(4, '0')), size: fc.integer({ min: 1, max: 100 }), retiredAt: fc.nat(50) });
const store = fc.uniqueArray(chunk, { selector: ({ hash }) => hash, maxLength: 40 });
const sum = (chunks: readonly StoredChunk[]): number => chunks.reduce((total, { size }) => total + size, 0);

describe('what the gateway deletes when its disk budget is full', () => {
  const law = (check: (o: { stored: StoredChunk[]; needed: Set<string>; budget: number; gone: StoredChunk[] }) => void): void => {
    fc.assert(
      fc.property(store, fc.func(fc.boolean()), fc.nat(3000), (stored, isNeeded, budget) => {
        const needed = new Set(stored.filter(({ hash }) => isNeeded(hash)).map(({ hash }) => hash));
        check({ stored, needed, budget, gone: chunksToDelete(stored, needed, budget) });
      }),
    );
  };

  it('is never a chunk that a served view needs', () => {
    law(({ needed, gone }) => expect(gone.filter(({ hash }) => needed.has(hash))).toEqual([]));
  });

  it('is nothing while the budget holds', () => {
    law(({ stored, budget, gone }) => {
      if (sum(stored) <= budget) expect(gone).toEqual([]);
    });
  });

  it('is enough: the budget holds afterwards, or nothing is left that may go', () => {
    law(({ stored, needed, budget, gone }) => {
      const spare = stored.filter(({ hash }) => !needed.has(hash));
      expect(sum(stored) - sum(gone) <= budget || gone.length === spare.length).toBe(true);
    });
  });

  it('is no more than necessary: without the last one the budget would not hold', () => {
    law(({ stored, budget, gone }) => {
      if (gone.length > 0) expect(sum(stored) - sum(gone.slice(0, -1))).toBeGreaterThan(budget);
    });
  });

  it('is what was not needed for the longest time', () => {
    law(({ stored, needed, gone }) => {
      const hashes = new Set(gone.map(({ hash }) => hash));
      const kept = stored.filter(({ hash }) => !needed.has(hash) && !hashes.has(hash));
      const youngest = Math.max(...gone.map(({ retiredAt }) => retiredAt));
      for (const { retiredAt } of kept) expect(retiredAt).toBeGreaterThanOrEqual(youngest);
    });
  });
});
