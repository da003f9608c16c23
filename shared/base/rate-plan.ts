import { z } from 'zod';
import { MAX_RATE_MBIT, MAX_RATE_WINDOWS } from './limits.ts';

const DAYS = ['sun', 'mon', 'tue', 'wed', 'thu', 'fri', 'sat'];
const BYTES_PER_MBIT = 125_000;

const Mbit = z.number().min(0).max(MAX_RATE_MBIT);
/** `08:00`, as minutes since midnight; `24:00` is the end of the day. */
const TimeOfDay = z
  .string()
  .regex(/^(([01][0-9]|2[0-3]):[0-5][0-9]|24:00)$/, 'a time is written "08:30"')
  .transform((text) => Number(text.slice(0, 2)) * 60 + Number(text.slice(3)));
/** `mon-fri`, `sat,sun`, `fri-mon`, as the days' numbers (0: Sunday). */
const Days = z.string().transform((text, context): readonly number[] => {
  const days = text.split(',').flatMap((part) => daysOf(part.trim()) ?? []);
  if (text.split(',').every((part) => daysOf(part.trim()) !== undefined)) return days;
  context.addIssue({ code: 'custom', message: `days are written "mon-fri" or "sat,sun", of ${DAYS.join(', ')}` });
  return z.NEVER;
});

const Window = z
  .strictObject({ days: Days.prefault('mon-sun'), from: TimeOfDay.prefault('00:00'), to: TimeOfDay.prefault('24:00'), mbit: Mbit })
  .refine(({ from, to }) => from !== to && from < 24 * 60, {
    message: 'a window lasts from one time to another one; the whole day is from "00:00" to "24:00"',
  });

/**
 * A limit in configuration files: `mbit = 20` and `windows = [{ days = "mon-fri", from = "08:00", to = "18:00", mbit = 2 }]`. 0: nothing then; no `mbit`:
 * no limit. Local time of the box; a window whose `from` is after its `to` goes on into the next day; of overlapping windows the first counts.
 */
export const ConfigRate = z.strictObject({ mbit: Mbit.optional(), windows: z.array(Window).max(MAX_RATE_WINDOWS).default([]) });
export type RatePlan = z.output<typeof ConfigRate>;

/** Bytes per second that the plan allows at a time; Infinity: no limit. */
export function bytesPerSecond(plan: RatePlan, at: Date): number {
  const minute = at.getHours() * 60 + at.getMinutes();
  const today = at.getDay();
  const yesterday = (today + 6) % 7;
  const window = plan.windows.find(({ days, from, to }) => {
    if (from < to) return days.includes(today) && minute >= from && minute < to;
    // Over midnight: it belongs to the day on which it began.
    return (days.includes(today) && minute >= from) || (days.includes(yesterday) && minute < to);
  });
  const mbit = window === undefined ? plan.mbit : window.mbit;
  return mbit === undefined ? Number.POSITIVE_INFINITY : mbit * BYTES_PER_MBIT;
}

/** Of `mon`, `mon-fri` or, over the weekend, `fri-mon`; undefined when it is none of these. */
function daysOf(text: string): number[] | undefined {
  const [first, last = first, ...rest] = text
    .toLowerCase()
    .split('-')
    .map((day) => DAYS.indexOf(day.trim()));
  if (first === undefined || last === undefined || first < 0 || last < 0 || rest.length > 0) return undefined;
  return Array.from({ length: ((last - first + 7) % 7) + 1 }, (_, step) => (first + step) % 7);
}
