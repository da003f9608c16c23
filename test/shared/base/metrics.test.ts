import fc from 'fast-check';
import { expect, it } from 'vitest';
import { MAX_METRIC_SERIES } from '../../../shared/base/limits.ts';
import { Metrics, processMetrics, Tally } from '../../../shared/base/metrics.ts';
import { expectExposition } from '../../support/exposition.ts';

const OWN = [
  '# HELP wardcast_metrics_omitted_series Series left out of this answer: too many of one family, or not readable',
  '# TYPE wardcast_metrics_omitted_series gauge',
];

it('writes counters and gauges in the text format 0.0.4', async () => {
  const metrics = new Metrics();
  metrics.counter('wardcast_bytes_total', 'Bytes by source', () => [
    { labels: { source: 'line', site: 'north' }, value: 12 },
    { labels: { source: 'peer', site: 'north' }, value: 0.5 },
  ]);
  metrics.gauge('wardcast_open', 'Open now', () => 3);
  expect(await metrics.text()).toBe(
    [
      '# HELP wardcast_bytes_total Bytes by source',
      '# TYPE wardcast_bytes_total counter',
      'wardcast_bytes_total{source="line",site="north"} 12',
      'wardcast_bytes_total{source="peer",site="north"} 0.5',
      '# HELP wardcast_open Open now',
      '# TYPE wardcast_open gauge',
      'wardcast_open 3',
      ...OWN,
      'wardcast_metrics_omitted_series 0',
      '',
    ].join('\n'),
  );
});

it('stays readable whatever a label says', async () => {
  await fc.assert(
    fc.asyncProperty(fc.string({ unit: 'binary' }), fc.double(), async (label, value) => {
      const metrics = new Metrics();
      metrics.gauge('wardcast_x', 'X', () => [{ labels: { label }, value }]);
      const samples = expectExposition(await metrics.text());
      expect(samples.get('wardcast_x')).toEqual([{ labels: { label }, value: Number.isFinite(value) ? (value === 0 ? 0 : value) : Number.NaN }]);
    }),
  );
});

it('tells no more series than the limit, and what it left out', async () => {
  const metrics = new Metrics();
  metrics.gauge('wardcast_many', 'Many', function* () {
    for (let at = 0; at < MAX_METRIC_SERIES + 7; at++) yield { labels: { at: String(at) }, value: at };
  });
  const samples = expectExposition(await metrics.text());
  expect(samples.get('wardcast_many')).toHaveLength(MAX_METRIC_SERIES);
  expect(samples.get('wardcast_metrics_omitted_series')).toEqual([{ labels: {}, value: 7 }]);
});

it('one figure that cannot be read costs no other', async () => {
  const metrics = new Metrics();
  metrics.gauge('wardcast_broken', 'Broken', () => Promise.reject(new Error('closed')));
  processMetrics(metrics, { component: 'test' });
  const samples = expectExposition(await metrics.text());
  expect(samples.has('wardcast_broken')).toBe(false);
  expect(samples.get('wardcast_up')).toEqual([{ labels: { component: 'test' }, value: 1 }]);
  expect(samples.get('wardcast_metrics_omitted_series')?.[0]?.value).toBe(1);
});

it('a name is taken once, and that of a counter ends in _total', () => {
  const metrics = new Metrics();
  metrics.gauge('wardcast_a', 'A', () => 1);
  expect(() => metrics.gauge('wardcast_a', 'A', () => 1)).toThrow(/taken/);
  expect(() => metrics.counter('wardcast_b', 'B', () => 1)).toThrow(/no name/);
  expect(() => metrics.gauge('wardcast_b_total', 'B', () => 1)).toThrow(/no name/);
});

it('a tally holds no more series than the limit, whoever chooses its labels', () => {
  const tally = new Tally();
  for (let at = 0; at < MAX_METRIC_SERIES * 2; at++) tally.add({ at: String(at % (MAX_METRIC_SERIES + 100)) });
  const all = [...tally];
  expect(all).toHaveLength(MAX_METRIC_SERIES);
  expect(all[0]).toEqual({ labels: { at: '0' }, value: 2 });
});
