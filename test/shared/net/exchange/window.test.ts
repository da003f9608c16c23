import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { CreditWindow } from '../../../../shared/net/exchange/window.ts';

describe('the credit window', () => {
  it('law: never more bytes or objects are out than it allows, but for a single object', () => {
    const sizes = fc.array(fc.oneof(fc.nat(300), fc.constant(-1)), { maxLength: 200 });
    fc.assert(
      fc.property(sizes, fc.integer({ min: 1, max: 500 }), fc.integer({ min: 1, max: 10 }), (steps, bytes, objects) => {
        const window = new CreditWindow({ bytes, objects });
        const out: number[] = [];
        for (const step of steps) {
          if (step >= 0) {
            if (window.take(step)) out.push(step);
          } else {
            const size = out.shift();
            if (size !== undefined) window.give(size);
          }
          const total = out.reduce((sum, size) => sum + size, 0);
          expect(window.bytes).toBe(total);
          expect(window.objects).toBe(out.length);
          expect(out.length <= 1 || (total <= bytes && out.length <= objects)).toBe(true);
        }
      }),
    );
  });

  it('law: whenever nothing is out, anything may be taken, and asking is worth a message', () => {
    fc.assert(
      fc.property(fc.nat(), fc.integer({ min: 1, max: 100 }), (size, bytes) => {
        const window = new CreditWindow({ bytes, objects: 1 });
        expect(window.worthAsking).toBe(true);
        expect(window.take(size)).toBe(true);
        window.give(size);
        expect(window.worthAsking).toBe(true);
      }),
    );
  });
});
