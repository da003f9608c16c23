import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { PullPlan } from '../../../gateway/relay/pull-plan.ts';

describe('what to pull next', () => {
  it('asks once for a chunk that two groups need, and completes both', () => {
    const plan = new PullPlan();
    plan.need('a', 'ct', new Map([['x', 10]]));
    plan.need('b', 'pump', new Map([['x', 10]]));
    expect(plan.take()?.hash).toBe('x');
    expect(plan.take()).toBeUndefined();
    expect(plan.stored('x').sort()).toEqual(['a', 'b']);
  });

  it('asks in the name of the other group when the first one could not have it', () => {
    const plan = new PullPlan();
    plan.need('a', 'ct', new Map([['x', 10]]));
    plan.need('b', 'pump', new Map([['x', 10]]));
    expect(plan.take()?.group).toBe('ct');
    plan.failed('x');
    expect(plan.take()).toEqual({ id: 'b', group: 'pump', hash: 'x', size: 10 });
  });

  it('lets groups take turns', () => {
    const plan = new PullPlan();
    const many = (name: string): Map<string, number> => new Map(Array.from({ length: 3 }, (_, i) => [`${name}${i}`, 1]));
    plan.need('a', 'ct', many('a'));
    plan.need('b', 'pump', many('b'));
    expect([plan.take(), plan.take(), plan.take(), plan.take()].map((pull) => pull?.group)).toEqual(['ct', 'pump', 'ct', 'pump']);
  });

  it('never has a chunk on its way twice, and completes every group that does not fail, whatever happens in which order', () => {
    const needs = fc.array(fc.uniqueArray(fc.integer({ min: 0, max: 20 })), { minLength: 1, maxLength: 5 });
    fc.assert(
      fc.property(needs, fc.infiniteStream(fc.nat(99)), (groups, choices) => {
        const plan = new PullPlan();
        const choose = (): number => choices.next().value ?? 0;
        const waiting = new Set<string>();
        const failed = new Set<string>();
        groups.forEach((chunks, index) => {
          if (chunks.length === 0) return;
          plan.need(String(index), String(index), new Map(chunks.map((chunk) => [String(chunk), 1])));
          waiting.add(String(index));
        });
        const flying = new Map<string, string>();
        const stored = new Set<string>();
        for (let step = 0; step < 500; step++) {
          const pull = choose() < 60 ? plan.take() : undefined;
          if (pull !== undefined) {
            expect(flying.has(pull.hash)).toBe(false);
            expect(stored.has(pull.hash)).toBe(false);
            flying.set(pull.hash, pull.id);
            continue;
          }
          const [landing] = flying;
          if (landing === undefined) continue;
          const [hash, id] = landing;
          flying.delete(hash);
          if (choose() < 10) {
            plan.failed(hash);
            failed.add(id);
          } else {
            stored.add(hash);
            for (const done of plan.stored(hash)) waiting.delete(done);
          }
        }
        expect([...waiting].filter((id) => !failed.has(id))).toEqual([]);
      }),
      { numRuns: 200 },
    );
  });
});
