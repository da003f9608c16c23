import { median, type Row, round } from '../row.ts';
import type { Heat, Name } from './plan.ts';
import { limitOf, type Result, type Shape } from './race.ts';

/** What a heat gave: by contestant, one result for each run that went well. */
export interface Outcome {
  readonly heat: Heat;
  readonly results: ReadonlyMap<Name, readonly Result[]>;
  readonly failed: ReadonlyMap<Name, number>;
}

/** Time to the last device / limit, at most; by number of devices. */
const TARGETS: Readonly<Record<number, number>> = { 2: 1.1, 4: 1.12, 8: 1.15, 16: 1.2 };
const KILLED: Name = 'wardcast, one device killed';

/** Every contestant's own figures, then the comparisons that targets speak of. */
export function rowsOf(outcomes: readonly Outcome[]): Row[] {
  return [...outcomes.flatMap((outcome) => [...outcome.results.keys()].map((name) => figures(outcome, name))), ...comparisons(outcomes)];
}

function figures({ heat: { shape }, results, failed }: Outcome, name: Name): Row {
  const all = results.get(name) ?? [];
  const seconds = all.map((one) => one.seconds);
  const limit = limitOf(shape);
  const target = name === 'wardcast' && limit !== null ? TARGETS[shape.devices] : undefined;
  const details = Object.keys(all[0]?.details ?? {}).map((key) => [key, middle(all, (one) => one.details[key] ?? Number.NaN)]);
  return {
    bench: 'lan',
    contestant: name,
    ...shape,
    ...(name === 'iperf3, one copy' ? { devices: 1, besides: shape.devices - 1 } : {}),
    runs: all.length,
    failed: failed.get(name) ?? 0,
    seconds: middle(all, (one) => one.seconds),
    min: number(Math.min(...seconds)),
    max: number(Math.max(...seconds)),
    limit: limit === null ? null : round(limit),
    ...(target === undefined ? {} : { target }),
    ratio: limit === null ? null : middle(all, (one) => one.seconds / limit),
    copies: middle(all, (one) => one.copies),
    cpuPercent: middle(all, (one) => one.cpuPercent),
    ...Object.fromEntries(details),
  };
}

function comparisons(outcomes: readonly Outcome[]): Row[] {
  const rows: Row[] = [];
  for (const outcome of outcomes) {
    const { shape } = outcome.heat;
    const add = (bench: string, more: Readonly<Record<string, string>>, target: number, ratio: number): void => {
      if (Number.isFinite(ratio)) rows.push({ bench, contestant: 'wardcast', ...more, ...shape, target, ratio: round(ratio) });
    };
    const ours = secondsOf(outcome, 'wardcast');
    // What is left of the throughput.
    const encryption = (): void => add('lan-encryption', {}, 0.85, ours / secondsOf(outcome, 'wardcast, encrypted'));
    const limit = limitOf(shape);
    if (limit === null && shape.devices === 1) {
      const reference = secondsOf(outcome, 'nginx and curl');
      add('lan-one', { against: 'nginx and curl' }, 0.8, reference / ours);
      add('lan-one', { against: 'nginx and curl', without: 'staging' }, 0.8, reference / secondsOf(outcome, 'wardcast without staging'));
    } else if (limit === null) {
      add('lan-unshaped', { against: 'aria2' }, 1, ours / secondsOf(outcome, 'aria2'));
      add('lan-unshaped', { against: 'nginx and curl' }, 2, ours / secondsOf(outcome, 'nginx and curl'));
      encryption();
    } else if (shape.devices >= 8) {
      encryption();
      add('lan-vs-aria2', {}, 0.8, ours / secondsOf(outcome, 'aria2'));
      add('lan-vs-udpcast', {}, 1, ours / secondsOf(outcome, 'udpcast'));
      add('lan-kill', {}, 1.4, secondsOf(outcome, KILLED) / limit);
      if (shape.devices === 8) add('lan-copies', {}, 1.08, median((outcome.results.get('wardcast') ?? []).map((one) => one.copies)));
    }
  }
  return [...rows, ...(['wardcast', 'aria2'] as const).flatMap((name) => growth(outcomes, name))];
}

/** How the time grows from 2 devices to 16, in limits, since the shapes differ. */
function growth(outcomes: readonly Outcome[], contestant: Name): Row[] {
  const [few, many] = [2, 16].map((devices) => {
    const outcome = outcomes.find(({ heat: { shape } }) => shape.devices === devices && shape.mbit !== null);
    return outcome === undefined ? Number.NaN : secondsOf(outcome, contestant) / (limitOf(outcome.heat.shape) ?? Number.NaN);
  });
  const ratio = (many ?? Number.NaN) / (few ?? Number.NaN);
  if (!Number.isFinite(ratio)) return [];
  return [{ bench: 'lan-growth', contestant, ...(contestant === 'wardcast' ? { target: 1.15 } : {}), ratio: round(ratio) }];
}

function secondsOf({ results }: Outcome, name: Name): number {
  return median((results.get(name) ?? []).map((one) => one.seconds));
}

function middle(all: readonly Result[], of: (one: Result) => number): number | null {
  return number(median(all.map(of)));
}

function number(value: number): number | null {
  return Number.isFinite(value) ? round(value) : null;
}

/** What a shape is called in notes. */
export function describeShape({ devices, mbit, mib }: Shape): string {
  return `${mib} MiB to ${devices} at ${mbit === null ? 'full speed' : `${mbit} Mbit/s`}`;
}
