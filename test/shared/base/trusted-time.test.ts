import fc from 'fast-check';
import { expect, test } from 'vitest';
import { CLOCK_TOLERANCE, TIME_PROOF_KEPT, TIME_ROUND_TRIP, WALL_AHEAD_MAX } from '../../../shared/base/limits.ts';
import { TrustedTime } from '../../../shared/base/trusted-time.ts';
import { CrookedClock } from '../../support/crooked-clock.ts';

const HOUR = 3_600_000;
const DAY = 24 * HOUR;
const TRUTH = Date.UTC(2031, 4, 1);
const ISSUED = TRUTH - 20 * DAY;
const EXPIRES = TRUTH + 70 * DAY;

function start(wall: number, floor = ISSUED): { clock: CrookedClock; time: TrustedTime } {
  const clock = new CrookedClock(TRUTH, wall);
  return { clock, time: new TrustedTime({ clock, floor, ceiling: () => EXPIRES }) };
}

test.each([
  ['1970', 0],
  ['2099', Date.UTC(2099, 0, 1)],
])('a wall clock in %s moves nothing: the time begins at the evidence and goes on with the monotonic clock', async (_name, wall) => {
  const { clock, time } = start(wall);
  expect(time.now()).toBe(ISSUED);
  expect(time.guess()).toBe(ISSUED);
  expect(time.latest()).toBe(Number.POSITIVE_INFINITY);
  expect(time.look()).toEqual([{ type: 'wrong', wall, trusted: ISSUED }]);
  await clock.advance(10 * DAY);
  expect(time.now()).toBe(ISSUED + 10 * DAY);
  // Once said is enough.
  expect(time.look()).toEqual([]);
});

test('a proof makes it the present, within its round trip', () => {
  const { time } = start(0);
  expect(time.prove({ at: TRUTH - 800, roundTrip: 1000 })).toBe(true);
  expect(time.now()).toBe(TRUTH - 800);
  expect(time.latest()).toBe(TRUTH + 200);
  expect(time.proven).toBe(true);
});

test('a proof goes stale, and the bound that it left stays', async () => {
  const { clock, time } = start(0);
  time.prove({ at: TRUTH, roundTrip: 10 });
  await clock.advance(TIME_PROOF_KEPT);
  expect(time.proven).toBe(false);
  expect(time.now()).toBe(TRUTH + TIME_PROOF_KEPT);
  expect(time.latest()).toBe(Number.POSITIVE_INFINITY);
});

test('an unproven wall clock a little ahead is heard only where that makes more careful', () => {
  const ahead = ISSUED + 200 * DAY;
  const { time } = start(ahead);
  expect(time.now()).toBe(ISSUED);
  expect(time.guess()).toBe(ahead);
  expect(time.look()).toEqual([]);
  time.prove({ at: TRUTH, roundTrip: 10 });
  expect(time.guess()).toBe(TRUTH);
  expect(time.look()).toEqual([{ type: 'wrong', wall: ahead, trusted: TRUTH }]);
});

test('a jump of the wall clock undoes the proof, for the machine may have slept, and moves nothing else', () => {
  const { clock, time } = start(TRUTH);
  time.prove({ at: TRUTH, roundTrip: 10 });
  clock.set(TRUTH + 40 * DAY);
  const news = time.look();
  expect(news).toEqual([{ type: 'jumped', by: 40 * DAY }]);
  expect(time.proven).toBe(false);
  expect(time.now()).toBe(TRUTH);
  expect(time.prove({ at: TRUTH, roundTrip: 10 })).toBe(true);
  expect(time.look()).toEqual([{ type: 'wrong', wall: TRUTH + 40 * DAY, trusted: TRUTH }]);
  clock.set(TRUTH + 1000);
  expect(time.look()).toContainEqual(expect.objectContaining({ type: 'jumped' }));
  time.prove({ at: TRUTH, roundTrip: 10 });
  expect(time.look()).toEqual([{ type: 'right', wall: TRUTH + 1000, trusted: TRUTH }]);
});

test('nobody can talk it beyond the end of its own certificate, and what says more is no proof', () => {
  const { time } = start(TRUTH);
  expect(time.prove({ at: Date.UTC(2099, 0, 1), roundTrip: 10 })).toBe(false);
  expect(time.now()).toBe(EXPIRES);
  expect(time.proven).toBe(false);
});

test('what contradicts earlier evidence proves nothing', () => {
  const { time } = start(TRUTH, TRUTH);
  expect(time.prove({ at: TRUTH - 10 * DAY, roundTrip: 10 })).toBe(false);
  expect(time.now()).toBe(TRUTH);
  expect(time.proven).toBe(false);
});

test('it tells whole milliseconds, as clocks do, whatever the monotonic clock counts in', async () => {
  const { clock, time } = start(TRUTH);
  await clock.advance(0.7);
  expect(time.now()).toBe(ISSUED);
  time.prove({ at: TRUTH, roundTrip: 0.25 });
  expect(time.now()).toBe(TRUTH);
  expect(time.latest()).toBe(TRUTH + 1);
});

test('dates that are none move nothing', () => {
  const { time } = start(TRUTH);
  for (const at of [Number.NaN, Number.NEGATIVE_INFINITY, 0]) expect(time.evidence(at)).toBe(false);
  expect(time.now()).toBe(ISSUED);
});

/** What may happen to a device in its life. Only genuine signatures count as evidence, so what arrives is signed by an honest provider, now or earlier. */
const event = fc.oneof(
  fc.record({ type: fc.constant('wall' as const), wall: fc.integer({ min: 0, max: Date.UTC(2199, 0, 1) }) }),
  fc.record({ type: fc.constant('pass' as const), ms: fc.integer({ min: 0, max: 20 * DAY }) }),
  /** Off for a while; the bound was written down up to an hour before. */
  fc.record({ type: fc.constant('restart' as const), off: fc.integer({ min: 0, max: 100 * DAY }), wall: fc.integer({ min: 0, max: Date.UTC(2199, 0, 1) }) }),
  /** The answer to an own question, on its way for a while. */
  fc.record({
    type: fc.constant('answer' as const),
    roundTrip: fc.integer({ min: 0, max: TIME_ROUND_TRIP }),
    share: fc.double({ min: 0, max: 1, noNaN: true }),
  }),
  /** Something that was signed earlier, replayed: without a matching nonce it is evidence at most. */
  fc.record({ type: fc.constant('old' as const), age: fc.integer({ min: 0, max: 4000 * DAY }) }),
  fc.record({ type: fc.constant('look' as const) }),
);

test('whatever happens, the trusted time never goes back and never passes the truth; a proven one is off by less than its round trip', async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(event, { maxLength: 40 }), fc.integer({ min: 0, max: Date.UTC(2199, 0, 1) }), async (events, wall) => {
      let clock = new CrookedClock(TRUTH, wall);
      // A device whose certificate is renewed in time.
      const ceiling = (): number => clock.truth + 30 * DAY;
      let time = new TrustedTime({ clock, floor: ISSUED, ceiling });
      let before = time.now();
      const holds = (): void => {
        const now = time.now();
        expect(now).toBeGreaterThanOrEqual(before);
        expect(now).toBeLessThanOrEqual(clock.truth);
        expect(time.latest()).toBeGreaterThanOrEqual(clock.truth);
        if (time.proven) expect(time.latest() - now).toBeLessThanOrEqual(TIME_ROUND_TRIP);
        before = now;
      };
      for (const happens of events) {
        switch (happens.type) {
          case 'wall':
            clock.set(happens.wall);
            break;
          case 'pass':
            await clock.advance(happens.ms);
            break;
          case 'restart':
            clock = new CrookedClock(clock.truth + happens.off, happens.wall);
            time = new TrustedTime({ clock, floor: before, ceiling });
            break;
          case 'answer': {
            await clock.advance(happens.roundTrip);
            time.prove({ at: clock.truth - Math.floor(happens.share * happens.roundTrip), roundTrip: happens.roundTrip });
            expect(time.proven).toBe(true);
            break;
          }
          case 'old':
            time.evidence(clock.truth - happens.age);
            break;
          case 'look':
            time.look();
        }
        holds();
      }
    }),
    { numRuns: 150 },
  );
}, 60_000);

test('a device that got an answer takes nothing that expired longer ago than the round trip, at whatever wall clock', async () => {
  await fc.assert(
    fc.asyncProperty(fc.integer({ min: 0, max: Date.UTC(2199, 0, 1) }), fc.integer({ min: 0, max: TIME_ROUND_TRIP }), async (wall, roundTrip) => {
      const { clock, time } = start(wall);
      await clock.advance(roundTrip);
      time.prove({ at: clock.truth - roundTrip, roundTrip });
      // What metadata is judged by (agent/accept/verify.ts).
      expect(clock.truth - time.guess()).toBeLessThanOrEqual(roundTrip);
      // And nothing fresh is refused: it is never later than the truth.
      expect(time.guess()).toBeLessThanOrEqual(clock.truth);
    }),
    { numRuns: 100 },
  );
});

test('the limits hold together: a proof outlives two failed renewals, and tolerance is wider than a round trip', () => {
  expect(CLOCK_TOLERANCE).toBeGreaterThan(TIME_ROUND_TRIP);
  expect(WALL_AHEAD_MAX).toBeLessThan(Date.UTC(2099, 0, 1) - Date.UTC(2030, 0, 1));
});
