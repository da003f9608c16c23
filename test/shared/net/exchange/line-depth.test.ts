import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { PULL_WINDOW, PULL_WINDOW_BASE } from '../../../../shared/base/limits.ts';
import { type Asked, LineDepth } from '../../../../shared/net/exchange/line-depth.ts';

const KIB = 1024;

/** Pulls over a line of `rate` bytes per millisecond and `trip` milliseconds for `time` milliseconds; what arrives waits its turn. */
function pull(depth: LineDepth, { rate, trip, time }: { rate: number; trip: number; time: number }): { bytes: number; deepest: number } {
  const size = 64 * KIB;
  const flying: { asked: Asked; at: number }[] = [];
  let out = 0;
  let free = 0;
  let bytes = 0;
  let deepest = 0;
  for (let now = 0; now < time; now++) {
    for (let next = flying[0]; next !== undefined && next.at <= now; next = flying[0]) {
      flying.shift();
      out -= size;
      bytes += size;
      depth.arrive(next.asked, size, now);
    }
    while (out + size <= depth.bytes) {
      free = Math.max(free, now + trip) + size / rate;
      flying.push({ asked: depth.ask(now), at: free });
      out += size;
    }
    deepest = Math.max(deepest, out);
  }
  return { bytes, deepest };
}

describe('how much to ask for', () => {
  it('fills any line that the largest window can fill', () => {
    const lines = fc.record({ rate: fc.integer({ min: 100, max: 12_500 }), trip: fc.integer({ min: 1, max: 300 }) });
    fc.assert(
      fc.property(lines, ({ rate, trip }) => {
        const { bytes } = pull(new LineDepth(), { rate, trip, time: 20_000 });
        expect(bytes).toBeGreaterThan(rate * (20_000 - 6 * trip) * 0.95 - 128 * KIB);
      }),
      { numRuns: 20 },
    );
  });

  it('is never more than the largest window, and on a slow or short line less than one payload waits', () => {
    expect(pull(new LineDepth(), { rate: 100_000, trip: 300, time: 5000 }).deepest).toBeLessThanOrEqual(PULL_WINDOW);
    // 10 Mbit/s and 20 ms: 25 KiB are on the way; of a payload of 1 MiB more than a third is left.
    expect(pull(new LineDepth(), { rate: 1250, trip: 20, time: 20_000 }).deepest).toBeLessThan(PULL_WINDOW_BASE + 320 * KIB);
  });

  it('shrinks when the line gets slower, and starts anew with another connection', () => {
    const depth = new LineDepth();
    for (let now = 0; now < 2000; now += 10) depth.arrive({ ...depth.ask(now - 100), arrived: 0 }, 64 * KIB, now);
    const before = depth.bytes;
    for (let now = 60_000; now < 62_000; now += 1000) depth.arrive(depth.ask(now - 1000), 64 * KIB, now);
    expect(depth.bytes).toBeLessThan(before);
    depth.forget();
    expect(depth.bytes).toBe(PULL_WINDOW_BASE);
  });
});
