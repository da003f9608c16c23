import { describe, expect, it } from 'vitest';
import { type Outcome, type Race, SCENARIOS, simulate } from '../../../bench/swarm-simulation/scenario.ts';

function run(race: Partial<Race>): Outcome {
  return simulate({ scenario: 'uniform', devices: 16, chunks: 128, seed: 1, ...race });
}

/** The classes of agent and gateway in virtual time; the laws are generous, docs/performance.md has the figures. */
describe('the swarm, simulated,', () => {
  it.each(SCENARIOS)('brings everything to every honest device, and nothing wrong (%s)', (scenario) => {
    for (const devices of [1, 2, 10, 30]) {
      const outcome = run({ scenario, devices, chunks: 64 });
      expect(outcome.complete, `${devices} devices`).toBe(outcome.honest);
      expect(outcome.wrong).toBe(0);
    }
  });

  it('gives the same outcome for the same seed', () => {
    expect(run({ scenario: 'churn', seed: 7 })).toEqual(run({ scenario: 'churn', seed: 7 }));
    expect(run({ scenario: 'churn', seed: 7 })).not.toEqual(run({ scenario: 'churn', seed: 8 }));
  });

  it('lets each chunk leave the gateway about once, however many devices there are', () => {
    for (const devices of [2, 4, 8, 16, 60]) expect(run({ devices }).copies, `${devices} devices`).toBeLessThanOrEqual(1.1);
  });

  it('takes little more time for more devices', () => {
    const [two, sixteen] = [run({ devices: 2, chunks: 400 }), run({ devices: 16, chunks: 400 })];
    expect(two.seconds / two.limit).toBeLessThan(1.15);
    expect(sixteen.seconds / sixteen.limit).toBeLessThan(1.4);
  });

  it('takes at most twice as long for 1,000 devices as for 16', () => {
    // Few chunks in whole pieces: a thousand devices in seconds of computing. With fewer still, only the hops through the group would count.
    const race = { chunks: 64, piece: Number.POSITIVE_INFINITY };
    const thousand = run({ devices: 1000, ...race });
    expect(thousand.complete).toBe(1000);
    expect(thousand.copies).toBeLessThanOrEqual(1.1);
    expect(thousand.seconds).toBeLessThanOrEqual(2 * run({ devices: 16, ...race }).seconds);
    // A hang guard: the machine may be slow.
  }, 180_000);
});
