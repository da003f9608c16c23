import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import type { Standing } from '../../../provider/registry/rows.ts';
import { heard } from '../../../provider/registry/standing.ts';
import { sha256 } from '../../../shared/bundle/digest.ts';
import type { Statement } from '../../../shared/wire/messages.ts';
import { confirmation, inventory, manifestOf } from '../statements.ts';

const APPLICATIONS = ['viewer', 'driver', 'tools'] as const;
const VERSIONS = ['1.0.0', '1.1.0', '2.0.0'] as const;

/** Statements of one device with distinct counters, in the order of their counters. */
const life = fc
  .array(
    fc.oneof(
      fc.record({
        kind: fc.constant('confirmation' as const),
        application: fc.constantFrom(...APPLICATIONS),
        version: fc.constantFrom(...VERSIONS),
        ok: fc.boolean(),
        nothing: fc.boolean(),
      }),
      fc.record({ kind: fc.constant('inventory' as const), running: fc.dictionary(fc.constantFrom(...APPLICATIONS), fc.constantFrom(...VERSIONS)) }),
    ),
    { minLength: 1, maxLength: 12 },
  )
  .map((steps) =>
    steps.map((step, index): Statement => {
      const counter = (index + 1) * 3;
      if (step.kind === 'inventory') return inventory('ct-1', counter, step.running);
      const { application, version, ok, nothing } = step;
      const running = nothing ? null : { version, manifest: manifestOf(`${application} ${version}`) };
      return confirmation('ct-1', counter, { application, version, result: ok ? 'installed' : 'failed', running });
    }),
  );

function told(statements: readonly Statement[]): Standing | undefined {
  return statements.reduce<Standing | undefined>((was, statement) => heard(was, statement, sha256(Buffer.from(JSON.stringify(statement)))), undefined);
}
function bytes(statements: readonly Statement[]): string {
  return JSON.stringify(told(statements));
}

describe('the standing of a device', () => {
  test('is the same bytes for any order and any repetition of its statements', () => {
    const shuffled = life.chain((statements) =>
      fc.tuple(fc.constant(statements), fc.shuffledSubarray([...statements, ...statements], { minLength: statements.length * 2 })),
    );
    fc.assert(
      fc.property(shuffled, ([statements, mixed]) => {
        expect(bytes(mixed)).toBe(bytes(statements));
      }),
      { numRuns: 300 },
    );
  });

  test('heals from any loss with the next inventory', () => {
    const lossy = life.chain((statements) =>
      fc.tuple(fc.constant(statements), fc.subarray(statements), fc.dictionary(fc.constantFrom(...APPLICATIONS), fc.constantFrom(...VERSIONS))),
    );
    fc.assert(
      fc.property(lossy, ([statements, arrived, running]) => {
        const last = inventory('ct-1', 1000, running);
        const healed = told([...arrived, last]);
        expect(healed?.running).toEqual(told([...statements, last])?.running);
        expect(healed?.counter).toBe(1000);
      }),
      { numRuns: 300 },
    );
  });

  test('is what the highest counter said', () => {
    const statements = [
      confirmation('ct-1', 7, { version: '2.0.0' }),
      inventory('ct-1', 5, { viewer: '1.0.0', driver: '1.0.0' }),
      confirmation('ct-1', 6, { version: '1.1.0', result: 'rolled-back', running: null }),
    ];
    expect(told(statements)?.running.map(({ application, version, counter }) => [application, version, counter])).toEqual([
      ['driver', '1.0.0', 5],
      ['viewer', '2.0.0', 7],
    ]);
    expect(told(statements)?.results).toMatchObject([{ version: '2.0.0', result: 'installed', counter: 7 }]);
  });

  test('an inventory that does not name an application says that nothing of it runs', () => {
    expect(told([confirmation('ct-1', 1), inventory('ct-1', 2)])?.running).toEqual([]);
    expect(told([inventory('ct-1', 2), confirmation('ct-1', 1)])?.running).toEqual([]);
  });
});
