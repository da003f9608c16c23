import { describe, expect, it } from 'vitest';
import type { Heat, Name } from '../../../bench/lan/plan.ts';
import { limitOf, type Result, type Shape } from '../../../bench/lan/race.ts';
import { type Outcome, rowsOf } from '../../../bench/lan/rows.ts';

const result = (seconds: number, copies = 1): Result => ({ seconds, copies, cpuPercent: 50, details: { fromPeersMib: seconds } });

function outcome(shape: Shape, times: Readonly<Partial<Record<Name, readonly Result[]>>>): Outcome {
  const results = new Map<Name, readonly Result[]>();
  for (const name of ['wardcast', 'wardcast, one device killed', 'aria2', 'udpcast', 'nginx and curl'] as const) {
    const all = times[name];
    if (all !== undefined) results.set(name, all);
  }
  const heat: Heat = { shape, names: [...results.keys()] };
  return { heat, results, failed: new Map([['aria2', 1]]) };
}

const shaped = { devices: 8, mbit: 80, mib: 100 };
const limit = limitOf(shaped) ?? 0;

describe('rows of the LAN bench', () => {
  it('gives the limit as size over rate, and none where nothing is shaped', () => {
    expect(limit).toBeCloseTo(10.48576);
    expect(limitOf({ ...shaped, mbit: null })).toBeNull();
  });

  it('compares medians with the limit and with each peer', () => {
    const rows = rowsOf([
      outcome(shaped, {
        wardcast: [result(12, 1.1), result(11, 1.05), result(90, 3)],
        'wardcast, one device killed': [result(14)],
        aria2: [result(20), result(16)],
        udpcast: [result(15)],
      }),
    ]);
    const ours = rows.find(({ bench, contestant }) => bench === 'lan' && contestant === 'wardcast');
    expect(ours).toMatchObject({ devices: 8, runs: 3, failed: 0, seconds: 12, min: 11, max: 90, target: 1.15, ratio: 1.14, copies: 1.1, fromPeersMib: 12 });
    expect(rows.find(({ contestant }) => contestant === 'aria2')).toMatchObject({ runs: 2, failed: 1, seconds: 18 });
    const ratios = Object.fromEntries(rows.filter(({ bench }) => bench !== 'lan').map(({ bench, ratio }) => [bench, ratio]));
    expect(ratios).toEqual({ 'lan-vs-aria2': 0.667, 'lan-vs-udpcast': 0.8, 'lan-kill': 1.34, 'lan-copies': 1.1 });
  });

  it('measures growth in limits, because the shapes differ', () => {
    const few = outcome({ devices: 2, mbit: 80, mib: 100 }, { wardcast: [result(limit)] });
    const many = outcome({ devices: 16, mbit: 80, mib: 50 }, { wardcast: [result(0.6 * limit)] });
    expect(rowsOf([few, many]).find(({ bench }) => bench === 'lan-growth')).toMatchObject({ contestant: 'wardcast', ratio: 1.2 });
  });

  it('turns the ratio of one unshaped device round: higher is better there, as the target says', () => {
    const rows = rowsOf([outcome({ devices: 1, mbit: null, mib: 1000 }, { wardcast: [result(4)], 'nginx and curl': [result(3)] })]);
    expect(rows.find(({ bench }) => bench === 'lan-one')).toMatchObject({ against: 'nginx and curl', ratio: 0.75 });
  });

  it('says that a contestant failed instead of inventing figures, and compares nothing with it', () => {
    const rows = rowsOf([outcome(shaped, { wardcast: [result(12)], aria2: [] })]);
    expect(rows.find(({ contestant }) => contestant === 'aria2')).toMatchObject({ runs: 0, failed: 1, seconds: null, ratio: null });
    expect(rows.map(({ bench }) => bench)).not.toContain('lan-vs-aria2');
  });
});
