import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { RATE_LOOK_AGAIN } from '../../../shared/base/limits.ts';
import { TokenBucket } from '../../../shared/base/token-bucket.ts';

/** Takes items of one size as fast as it may, until `end`: the bytes taken. */
function drain(bucket: TokenBucket, size: number, end: number): number {
  let taken = 0;
  for (let now = 0; now <= end; ) {
    const wait = bucket.take(size, now);
    if (wait === 0) taken += size;
    now += wait;
  }
  return taken;
}

describe('a token bucket', () => {
  it('never lets more pass than rate × time + burst, over any interval', () => {
    const steps = fc.array(fc.record({ wait: fc.nat(3000), bytes: fc.integer({ min: 1, max: 5000 }) }), { minLength: 1, maxLength: 80 });
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 100_000 }), fc.integer({ min: 5000, max: 50_000 }), steps, (rate, burst, all) => {
        const bucket = new TokenBucket({ rate: () => rate, burst, now: 0 });
        const taken: { at: number; bytes: number }[] = [];
        let now = 0;
        for (const { wait, bytes } of all) {
          now += wait;
          if (bucket.take(bytes, now) === 0) taken.push({ at: now, bytes });
        }
        for (const [first, from] of taken.entries()) {
          let passed = 0;
          for (const to of taken.slice(first)) {
            passed += to.bytes;
            expect(passed).toBeLessThanOrEqual((rate * (to.at - from.at)) / 1000 + burst + 1e-6);
          }
        }
      }),
    );
  });

  it('keeps that law when the rate changes at any time', () => {
    const rates = fc.array(fc.constantFrom(0, 1000, 20_000), { minLength: 20, maxLength: 20 });
    const waits = fc.array(fc.nat(400), { minLength: 1, maxLength: 100 });
    fc.assert(
      fc.property(rates, waits, (perHalfSecond, all) => {
        let now = 0;
        const at = (time: number): number => perHalfSecond[Math.floor(time / 500) % perHalfSecond.length] ?? 0;
        const bucket = new TokenBucket({ rate: () => at(now), burst: 2000, now });
        let allowed = 2000;
        let passed = 0;
        for (const wait of all) {
          for (let ms = 0; ms < wait; ms++) allowed += at(now + ms) / 1000;
          now += wait;
          if (bucket.take(500, now) === 0) passed += 500;
          expect(passed).toBeLessThanOrEqual(allowed + 1e-6);
        }
      }),
    );
  });

  it('is as fast as its rate', () => {
    fc.assert(
      fc.property(fc.integer({ min: 10_000, max: 10_000_000 }), fc.integer({ min: 1000, max: 32_768 }), (rate, size) => {
        const taken = drain(new TokenBucket({ rate: () => rate, burst: 65_536, now: 0 }), size, 60_000);
        // A burst at the start, and at the end less than one item or the millisecond that the caller's timer is late.
        expect(taken).toBeGreaterThan(rate * 60 - size - rate / 1000);
        expect(taken).toBeLessThanOrEqual(rate * 60 + 65_536);
      }),
      { numRuns: 20 },
    );
  });

  it('lets an item pass that is larger than its burst, and makes what follows pay for it', () => {
    const bucket = new TokenBucket({ rate: () => 1000, burst: 1000, now: 0 });
    expect(bucket.take(5000, 0)).toBe(0);
    expect(bucket.take(1, 3999)).toBeGreaterThan(0);
    expect(bucket.take(1, 4001)).toBe(0);
  });

  it('gives nothing while it is stopped, whatever it had, and asks to be asked again soon', () => {
    let rate = 0;
    const bucket = new TokenBucket({ rate: () => rate, burst: 1000, now: 0 });
    for (let now = 0; now < 100_000; now += 500) expect(bucket.take(1, now)).toBe(RATE_LOOK_AGAIN);
    rate = 1;
    expect(bucket.take(1000, 100_000)).toBe(0);
    expect(bucket.take(1000, 100_000)).toBe(RATE_LOOK_AGAIN);
  });

  it('gives everything at once without a limit', () => {
    const bucket = new TokenBucket({ rate: () => Number.POSITIVE_INFINITY, burst: 1, now: 0 });
    for (let n = 0; n < 100; n++) expect(bucket.take(1 << 30, 0)).toBe(0);
  });

  it('gains nothing when the time jumps back', () => {
    const bucket = new TokenBucket({ rate: () => 1000, burst: 1000, now: 10_000 });
    expect(bucket.take(1000, 10_000)).toBe(0);
    expect(bucket.take(1, 0)).toBeGreaterThan(0);
    expect(bucket.take(1000, 10_500)).toBeGreaterThan(0);
    expect(bucket.take(1000, 11_000)).toBe(0);
  });
});
