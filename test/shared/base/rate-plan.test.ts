import fc from 'fast-check';
import { afterEach, describe, expect, it } from 'vitest';
import { bytesPerSecond, ConfigRate } from '../../../shared/base/rate-plan.ts';

const zone = process.env['TZ'];
afterEach(() => {
  if (zone === undefined) delete process.env['TZ'];
  else process.env['TZ'] = zone;
});

const mbitAt = (plan: unknown, at: Date): number => bytesPerSecond(ConfigRate.parse(plan), at) / 125_000;
const MINUTE = 60_000;

describe('a rate with windows', () => {
  it('has no limit when none is given', () => {
    expect(mbitAt({}, new Date())).toBe(Number.POSITIVE_INFINITY);
    expect(mbitAt({ mbit: 20 }, new Date())).toBe(20);
  });

  it('takes the window that holds at the time, from its first minute to before its last', () => {
    const plan = { mbit: 20, windows: [{ days: 'mon-fri', from: '08:00', to: '18:00', mbit: 2 }] };
    // 2 January 2023 was a Monday.
    expect(mbitAt(plan, new Date(2023, 0, 2, 7, 59, 59))).toBe(20);
    expect(mbitAt(plan, new Date(2023, 0, 2, 8, 0))).toBe(2);
    expect(mbitAt(plan, new Date(2023, 0, 2, 17, 59, 59))).toBe(2);
    expect(mbitAt(plan, new Date(2023, 0, 2, 18, 0))).toBe(20);
    expect(mbitAt(plan, new Date(2023, 0, 7, 12, 0))).toBe(20);
  });

  it('takes the first of the windows that hold', () => {
    const windows = [
      { days: 'wed', from: '12:00', to: '13:00', mbit: 50 },
      { from: '08:00', to: '18:00', mbit: 0 },
    ];
    expect(mbitAt({ windows }, new Date(2023, 0, 4, 12, 30))).toBe(50);
    expect(mbitAt({ windows }, new Date(2023, 0, 4, 13, 30))).toBe(0);
    expect(mbitAt({ windows }, new Date(2023, 0, 5, 12, 30))).toBe(0);
  });

  it('counts a window over midnight to the day on which it began', () => {
    const plan = { mbit: 1, windows: [{ days: 'fri', from: '22:00', to: '06:00', mbit: 9 }] };
    expect(mbitAt(plan, new Date(2023, 0, 6, 3, 0))).toBe(1);
    expect(mbitAt(plan, new Date(2023, 0, 6, 22, 0))).toBe(9);
    expect(mbitAt(plan, new Date(2023, 0, 7, 5, 59))).toBe(9);
    expect(mbitAt(plan, new Date(2023, 0, 7, 6, 0))).toBe(1);
    expect(mbitAt(plan, new Date(2023, 0, 7, 23, 0))).toBe(1);
  });

  it('follows the clock on the wall when summer time begins and ends', () => {
    process.env['TZ'] = 'Europe/Berlin';
    const plan = { mbit: 1, windows: [{ from: '02:30', to: '04:00', mbit: 5 }] };
    const minutesAtFive = (start: number): number =>
      Array.from({ length: 25 * 60 }, (_, n) => mbitAt(plan, new Date(start + n * MINUTE))).filter((m) => m === 5).length;
    // From 02:00 it was 03:00 at once: of the window the hour from 03:00 was left. In autumn the clock showed 02:30 to 03:00 twice.
    expect(minutesAtFive(Date.UTC(2023, 2, 25, 23))).toBe(60);
    expect(minutesAtFive(Date.UTC(2023, 9, 28, 22))).toBe(120);
    expect(minutesAtFive(Date.UTC(2023, 5, 14, 22))).toBe(90);
  });

  it('agrees with looking the time up in every zone, minute by minute', () => {
    const names = ['Sun', 'Mon', 'Tue', 'Wed', 'Thu', 'Fri', 'Sat'];
    const clock = fc.integer({ min: 0, max: 1439 });
    fc.assert(
      fc.property(
        fc.constantFrom('Europe/Berlin', 'America/New_York', 'Australia/Lord_Howe', 'UTC'),
        fc.subarray(names, { minLength: 1 }),
        clock,
        clock,
        fc.integer({ min: Date.UTC(2020, 0, 1), max: Date.UTC(2030, 0, 1) }),
        (timeZone, days, from, to, start) => {
          fc.pre(from !== to);
          process.env['TZ'] = timeZone;
          const text = (minutes: number): string => `${String(Math.floor(minutes / 60)).padStart(2, '0')}:${String(minutes % 60).padStart(2, '0')}`;
          const plan = { mbit: 1, windows: [{ days: days.join(',').toLowerCase(), from: text(from), to: text(to), mbit: 3 }] };
          const format = new Intl.DateTimeFormat('en-US', { timeZone, weekday: 'short', hour: '2-digit', minute: '2-digit', hourCycle: 'h23' });
          for (let step = 0; step < 40; step++) {
            const at = new Date(start + step * 67 * MINUTE);
            const parts = Object.fromEntries(format.formatToParts(at).map(({ type, value }) => [type, value]));
            const now = Number(parts['hour']) * 60 + Number(parts['minute']);
            const today = names.indexOf(parts['weekday'] ?? '');
            const began = from < to || now >= from ? today : (today + 6) % 7;
            const inside = days.includes(names[began] ?? '') && (from < to ? now >= from && now < to : now >= from || now < to);
            expect(mbitAt(plan, at)).toBe(inside ? 3 : 1);
          }
        },
      ),
      { numRuns: 50 },
    );
  });

  it('reads days as single days, ranges and ranges over the weekend', () => {
    const days = (text: string): readonly number[] | undefined => ConfigRate.parse({ windows: [{ days: text, mbit: 1 }] }).windows[0]?.days;
    expect(days('mon')).toEqual([1]);
    expect(days('mon-fri')).toEqual([1, 2, 3, 4, 5]);
    expect(days('fri-mon')).toEqual([5, 6, 0, 1]);
    expect(days('sat, sun')).toEqual([6, 0]);
    expect(days('mon-wed,Fri')).toEqual([1, 2, 3, 5]);
  });

  it.each([
    { windows: [{ days: 'mo-fr', mbit: 1 }] },
    { windows: [{ days: 'mon-tue-wed', mbit: 1 }] },
    { windows: [{ days: '', mbit: 1 }] },
    { windows: [{ from: '8:00', mbit: 1 }] },
    { windows: [{ from: '24:00', to: '08:00', mbit: 1 }] },
    { windows: [{ from: '08:00', to: '08:00', mbit: 1 }] },
    { windows: [{ to: '24:01', mbit: 1 }] },
    { windows: [{ from: '08:00' }] },
    { windows: [{ mbit: -1 }] },
    { mbit: '20' },
    { mbit: 20, burst: 3 },
  ])('refuses %j', (plan) => {
    expect(ConfigRate.safeParse(plan).success).toBe(false);
  });
});
