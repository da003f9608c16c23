import { expect, it } from 'vitest';
import { bundleLine, progressLine } from '../../cli/commands/watch.ts';
import { ProgressBook } from '../../cli/progress-book.ts';
import type { EventBody } from '../../shared/wire/ops.ts';

function event(change: Partial<EventBody<'progress'>>): EventBody<'progress'> {
  return {
    at: '2026-01-01T00:00:00.000Z',
    customer: 'acme',
    site: 'north',
    group: 'ct',
    device: 'ct-1',
    application: 'viewer',
    version: '2.0.0',
    sequence: 3,
    phase: 'fetching',
    total: 1000,
    done: 0,
    sources: { line: 0, gateway: 0, peer: 0, own: 0, patch: 0 },
    ...change,
  };
}

it('says a line per tenth and per phase, and no more', () => {
  const book = new ProgressBook();
  const steps = [0, 20, 90, 100, 150, 210, 215, 1000].map((done) => book.add(event({ done })).step);
  expect(steps).toEqual([true, false, false, true, false, true, false, true]);
  expect(book.add(event({ done: 1000, phase: 'activating' })).step).toBe(true);
  expect(book.add(event({ done: 1000, phase: 'activating' })).step).toBe(false);
});

it('keeps jobs apart by device, application and bundle', () => {
  const book = new ProgressBook();
  book.add(event({ done: 500 }));
  expect(book.add(event({ done: 500, device: 'ct-2' })).step).toBe(true);
  expect(book.add(event({ done: 500, application: 'other' })).step).toBe(true);
  expect(book.add(event({ done: 500, sequence: 4 })).step).toBe(true);
});

it('says where the bytes came from', () => {
  const { job } = new ProgressBook().add(event({ done: 400, sources: { line: 0, gateway: 150, peer: 0, own: 250, patch: 0 } }));
  expect(progressLine(job)).toBe(' 40%  fetching    acme/north/ct ct-1 viewer 2.0.0  gateway 150 B (38 %), own files 250 B (62 %)');
});

it('sums a bundle up over its gateway and its devices', () => {
  const book = new ProgressBook();
  const {
    device: _,
    application: __,
    version: ___,
    ...relay
  } = event({ phase: 'relayed', done: 1000, sources: { line: 1000, gateway: 0, peer: 0, own: 0, patch: 0 } });
  book.add(relay);
  book.add(event({ device: 'ct-2', phase: 'done', done: 1000, sources: { line: 0, gateway: 100, peer: 800, own: 100, patch: 0 } }));
  book.add(event({ sequence: 4, phase: 'done', done: 9, sources: { line: 0, gateway: 9, peer: 0, own: 0, patch: 0 } }));
  const { job } = book.add(event({ phase: 'done', done: 1000, sources: { line: 0, gateway: 900, peer: 100, own: 0, patch: 0 } }));
  expect(bundleLine(book.bundle(job))).toBe(
    '      bundle      acme/north/ct bundle 3, 2 devices  line 1.0 kB, gateway 1.0 kB (50 %), peers 900 B (45 %), own files 100 B (5 %)',
  );
});
