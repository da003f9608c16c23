import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { byVictim, planRound } from './plan.ts';
import { faultsIn, type Observed } from './truth.ts';

const TRUE: Observed = {
  differences: [],
  rows: [{ device: 'ct-1', application: 'viewer', registered: '1.0.0', installed: '1.0.0', altered: [] }],
  foreign: [],
  halves: [],
  statements: ['ct-1 1', 'ct-1 2', 'ct-2 1'],
  waiting: { 'ct-1': 0, 'gw-north': 0 },
  line: { content: 1_000_000, received: 1_100_000, breaks: 0 },
};

describe('a round of faults', () => {
  it('follows from its seed alone, hurts somebody, and each victim once at a time', () => {
    fc.assert(
      fc.property(fc.nat(), (seed) => {
        const round = planRound(seed);
        expect(planRound(seed)).toEqual(round);
        expect(round.releases.length).toBeGreaterThan(0);
        expect(round.faults.length).toBeGreaterThanOrEqual(2);
        expect([...byVictim(round.faults).values()].flat().length).toBe(round.faults.length);
      }),
    );
    const kinds = new Set(Array.from({ length: 200 }, (_, seed) => planRound(seed).faults.map(({ kind }) => kind)).flat());
    expect([...kinds].sort()).toEqual(['clock', 'cut', 'freeze', 'full', 'kill', 'noise', 'rot', 'rot-trust', 'slow']);
  });

  it('passes when all is as it should be', () => {
    expect(faultsIn(TRUE)).toEqual([]);
  });

  it.each<readonly [string, Partial<Observed>, string]>([
    ['a registry that differs from its log', { differences: ['device ct-1'] }, 'not what its log says'],
    [
      'a registry that lies about a device',
      { rows: [{ device: 'ct-1', application: 'viewer', registered: '1.1.0', installed: '1.0.0', altered: [] }] },
      'it runs 1.0.0',
    ],
    [
      'a registry that knows of nothing installed',
      { rows: [{ device: 'ct-1', application: 'viewer', registered: null, installed: '1.0.0', altered: [] }] },
      'runs viewer null',
    ],
    [
      'an altered file',
      { rows: [{ device: 'ct-1', application: 'viewer', registered: '1.0.0', installed: '1.0.0', altered: ['bin/start.sh'] }] },
      'altered viewer: bin/start.sh',
    ],
    ['content of another group', { foreign: ['ct-1: data/x'] }, 'ct-1: data/x'],
    ['a half-installed tree', { halves: ['ct-1: viewer'] }, 'half-installed'],
    ['a statement recorded twice', { statements: ['ct-1 1', 'ct-1 1'] }, 'ct-1 1 is on the log 2 times'],
    ['a statement without receipt', { waiting: { 'ct-1': 1 } }, '1 statements of ct-1 never got'],
    ['a daemon that does not say how many wait', { waiting: { 'ct-1': Number.NaN } }, 'never got their receipt'],
    ['bytes that crossed the line twice', { line: { content: 5_000_000, received: 10_000_000, breaks: 0 } }, 'the line carried 10000000 bytes'],
  ])('notices %s', (_what, change, why) => {
    const [wrong = '', ...more] = faultsIn({ ...TRUE, ...change });
    expect(wrong).toContain(why);
    expect(more).toEqual([]);
  });
});
