import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { Window } from '../../../../shared/net/swarm/window.ts';

describe('a window', () => {
  it('admits its minimum before anything is known, and nothing more', () => {
    const window = new Window<number>({ minimum: 2, maximum: 1000, allowance: 100 });
    expect(window.admits(1_000_000)).toBe(true);
    window.start(1, 500, 0);
    window.start(2, 500, 0);
    expect(window.admits(1)).toBe(false);
    window.end(1);
    expect(window.admits(1)).toBe(true);
  });

  it('estimates the rate from what was delivered meanwhile, and grows to it', () => {
    const window = new Window<number>({ minimum: 2, maximum: 1 << 20, allowance: 100 });
    // One thing of 1,000 bytes leaves the path every 10 ms, 20 ms after it set out when it need not queue.
    let next = 0;
    let free = 0;
    const flights: { key: number; at: number }[] = [];
    for (let now = 0; now < 2000; now += 1) {
      for (let flight = flights[0]; flight !== undefined && flight.at <= now; flight = flights[0]) {
        window.arrived(flight.key, now);
        flights.shift();
      }
      while (window.admits(1000)) {
        free = Math.max(free, now + 10) + 10;
        window.start(next, 1000, now);
        flights.push({ key: next, at: free });
        next += 1;
      }
    }
    expect(window.rate).toBeGreaterThan(90_000);
    expect(window.rate).toBeLessThan(130_000);
    // Ten milliseconds each: what is worth the shortest time and the allowance.
    expect(window.count).toBeGreaterThanOrEqual(10);
    expect(window.bytes).toBeLessThanOrEqual(1 << 20);
  });

  it('is never over its maximum unless within its minimum', () => {
    const window = new Window<number>({ minimum: 1, maximum: 2000, allowance: 1000 });
    window.start(1, 1000, 0);
    window.arrived(1, 1);
    expect(window.size).toBe(2000);
    window.start(2, 1000, 2);
    window.start(3, 1000, 2);
    expect(window.admits(1)).toBe(false);
  });

  it('counts the bytes on their way exactly, whatever happens in whatever order', () => {
    const event = fc.record({ do: fc.constantFrom('start', 'arrived', 'end'), key: fc.nat(9), bytes: fc.integer({ min: 1, max: 1000 }), after: fc.nat(50) });
    fc.assert(
      fc.property(fc.array(event, { maxLength: 100 }), (events) => {
        const window = new Window<number>({ minimum: 2, maximum: 3000, allowance: 50 });
        const flying = new Map<number, number>();
        let now = 0;
        for (const { do: what, key, bytes, after } of events) {
          now += after;
          if (what === 'start') {
            const admitted = window.admits(bytes);
            expect(admitted).toBe(flying.size < 2 || window.bytes + bytes <= window.size);
            window.start(key, bytes, now);
            flying.set(key, bytes);
            expect(window.since(key)).toBe(now);
          } else expect(what === 'arrived' ? window.arrived(key, now) : window.end(key)).toBe(flying.delete(key));
          expect(window.bytes).toBe([...flying.values()].reduce((sum, each) => sum + each, 0));
          expect([...window.keys()].toSorted()).toEqual([...flying.keys()].toSorted());
          expect(window.size).toBeLessThanOrEqual(3000);
          expect(Number.isFinite(window.rate)).toBe(true);
        }
      }),
    );
  });
});
