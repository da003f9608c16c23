import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { Spread } from '../../../gateway/seed/spread.ts';
import { REPEAT_AFTER } from '../../../shared/base/limits.ts';
import { Bitfield } from '../../../shared/net/swarm/bitfield.ts';
import { seededRandom } from '../../support/random.ts';

const all = (): boolean => true;

function spreadOf(sizes: readonly number[], devices: readonly string[], credit = 100): Spread<string> {
  const spread = new Spread<string>(sizes, seededRandom(1));
  for (const device of devices) {
    spread.join(device, new Bitfield(sizes.length), true);
    spread.credit(device, credit);
  }
  return spread;
}

function drain(spread: Spread<string>, now = 0): { to: string; index: number }[] {
  const given: { to: string; index: number }[] = [];
  for (let next = spread.next(all, now); next !== undefined; next = spread.next(all, now)) given.push(next);
  return given;
}

describe('the spread', () => {
  it('gives every chunk once before any twice, as long as nobody leaves', () => {
    const event = fc.record({
      do: fc.constantFrom('credit', 'next', 'next', 'arrive', 'pass', 'join'),
      device: fc.nat(4),
      index: fc.nat(19),
      after: fc.nat(3000),
    });
    fc.assert(
      fc.property(fc.array(event, { maxLength: 120 }), fc.integer(), (events, seed) => {
        const spread = new Spread<number>(new Array<number>(20).fill(10), seededRandom(seed));
        const given = new Set<number>();
        const flying: { to: number; index: number }[] = [];
        const has = new Map<number, Set<number>>();
        let now = 0;
        for (const { do: what, device, index, after } of events) {
          now += after;
          if (what === 'join' && !has.has(device)) {
            has.set(device, new Set());
            spread.join(device, new Bitfield(20), true);
          }
          if (what === 'credit') spread.credit(device, 3);
          if (what === 'arrive') {
            const one = flying.shift();
            if (one !== undefined) {
              has.get(one.to)?.add(one.index);
              spread.have(one.to, [one.index]);
            }
          }
          // A peer passed on what somebody has.
          if (what === 'pass' && has.has(device) && [...has.values()].some((chunks) => chunks.has(index))) {
            has.get(device)?.add(index);
            spread.have(device, [index]);
          }
          if (what !== 'next') continue;
          const next = spread.next(all, now);
          if (next === undefined) continue;
          expect(given.has(next.index)).toBe(given.size === 20);
          expect(has.get(next.to)?.has(next.index)).toBe(false);
          given.add(next.index);
          flying.push(next);
        }
      }),
    );
  });

  it('gives again what only a device had that is gone, whether it had arrived or not', () => {
    const spread = spreadOf(new Array<number>(6).fill(10), ['a', 'b']);
    const first = drain(spread);
    expect(first).toHaveLength(6);
    const lost = first.filter(({ to }) => to === 'a').map(({ index }) => index);
    expect(lost).toHaveLength(3);
    spread.have('a', lost.slice(0, 1));
    spread.leave('a');
    expect(
      drain(spread)
        .map(({ index }) => index)
        .toSorted(),
    ).toEqual(lost.toSorted());
  });

  it('does not give again what a device that is gone had passed on', () => {
    const spread = spreadOf([10, 10], ['a', 'b']);
    const [first] = drain(spread);
    if (first === undefined) throw new Error('nothing was given');
    const other = first.to === 'a' ? 'b' : 'a';
    spread.have(other, [first.index]);
    spread.leave(first.to);
    expect(drain(spread)).toEqual([]);
  });

  it('gives anew what did not get there', () => {
    const spread = spreadOf([10], ['a']);
    expect(drain(spread)).toEqual([{ to: 'a', index: 0 }]);
    spread.unsent('a', 0);
    spread.credit('a', 1);
    expect(drain(spread)).toEqual([{ to: 'a', index: 0 }]);
  });

  it('gives nothing without credit, nor to whom nothing may be sent', () => {
    const spread = spreadOf([10, 10, 10], ['a', 'b'], 1);
    expect(spread.next((device) => device === 'b', 0)?.to).toBe('b');
    expect(spread.next((device) => device === 'b', 0)).toBeUndefined();
    expect(drain(spread)).toHaveLength(1);
  });

  it('gives more to a device that got small chunks than to one that got big ones', () => {
    const spread = spreadOf([1000, ...new Array<number>(10).fill(10)], ['a', 'b']);
    const given = drain(spread);
    const big = given.find(({ index }) => index === 0)?.to;
    expect(given.filter(({ to }) => to === big)).toHaveLength(1);
  });

  it('gives second copies after REPEAT_AFTER without anything new, when the group goes on slowly', () => {
    const spread = spreadOf(new Array<number>(10).fill(10), ['a', 'b']);
    expect(drain(spread, 1)).toHaveLength(10);
    expect(drain(spread, REPEAT_AFTER)).toEqual([]);
    const again = drain(spread, 1 + REPEAT_AFTER);
    expect(again).toHaveLength(10);
    expect(new Set(again.map(({ index }) => index)).size).toBe(10);
  });

  it('gives no second copies while the group is quick without them', () => {
    const spread = spreadOf(new Array<number>(100).fill(10), ['a', 'b']);
    const first = drain(spread);
    for (const { to, index } of first) spread.have(to, [index]);
    drain(spread, 1);
    // 90 of the 100 that are missing are passed on within a second.
    for (const { to, index } of first.slice(0, 90)) spread.have(to === 'a' ? 'b' : 'a', [index]);
    expect(drain(spread, 1 + REPEAT_AFTER)).toEqual([]);
  });

  it('helps with the last chunks although most were passed on quickly', () => {
    const count = 2000;
    const spread = spreadOf(new Array<number>(count).fill(10), ['a', 'b', 'hoarder'], count);
    const first = drain(spread);
    for (const { to, index } of first) spread.have(to, [index]);
    drain(spread, 1);
    for (const { to, index } of first) if (to !== 'hoarder') spread.have(to === 'a' ? 'b' : 'a', [index]);
    let helped = 0;
    for (let now = 1; now < 30_000; now += 200) helped += drain(spread, now).filter(({ to }) => to !== 'hoarder').length;
    const missing = first.filter(({ to }) => to === 'hoarder').length;
    expect(helped).toBeGreaterThanOrEqual(2 * missing);
  });
});
