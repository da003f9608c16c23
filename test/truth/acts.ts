import fc from 'fast-check';
import { LANES, type Lane } from './lanes.ts';

export type DeviceName = 'ct-1' | 'ct-2';
/** One thing that happens. `hurry`: the next one does not wait for its end. */
export type Act =
  | { type: 'install'; device: DeviceName; application: string; version: string; ok: boolean; hurry: boolean }
  | { type: 'connect'; device: DeviceName; hurry: boolean }
  /** `twice`: it stays under way as well. */
  | { type: 'deliver'; lane: Lane; pick: number; twice: boolean; hurry: boolean }
  | { type: 'lose'; lane: Lane; pick: number }
  /** All that is under way arrives, in order, so many times. */
  | { type: 'flow'; rounds: number }
  | { type: 'line'; up: boolean }
  /** `stays`: down until somebody needs it. */
  | { type: 'crash'; who: 'provider' | 'gateway' | DeviceName; stays: boolean }
  | { type: 'clock'; device: DeviceName; year: number }
  /** Passes at the gateway and the provider. */
  | { type: 'minute' }
  | { type: 'forge'; lane: Lane; how: 'made' | 'altered' | 'replayed'; pick: number };

const device = fc.constantFrom<DeviceName>('ct-1', 'ct-2');
const lane = fc.constantFrom(...LANES);
const pick = fc.nat({ max: 5000 });
const hurry = fc.boolean();
const type = <const T extends string>(name: T): fc.Arbitrary<T> => fc.constant(name);

export const acts: fc.Arbitrary<Act[]> = fc.array(
  fc.oneof(
    {
      weight: 6,
      arbitrary: fc.record({
        type: type('install'),
        device,
        application: fc.constantFrom('viewer', 'driver'),
        version: fc.constantFrom('1.0.0', '2.0.0', '3.0.0'),
        ok: fc.boolean(),
        hurry,
      }),
    },
    { weight: 2, arbitrary: fc.record({ type: type('connect'), device, hurry }) },
    { weight: 5, arbitrary: fc.record({ type: type('deliver'), lane, pick, twice: fc.boolean(), hurry }) },
    { weight: 3, arbitrary: fc.record({ type: type('lose'), lane, pick }) },
    { weight: 4, arbitrary: fc.record({ type: type('flow'), rounds: fc.integer({ min: 1, max: 3 }) }) },
    { weight: 2, arbitrary: fc.record({ type: type('line'), up: fc.boolean() }) },
    {
      weight: 3,
      arbitrary: fc.record({
        type: type('crash'),
        who: fc.constantFrom<'provider' | 'gateway' | DeviceName>('provider', 'gateway', 'ct-1', 'ct-2'),
        stays: fc.boolean(),
      }),
    },
    { weight: 1, arbitrary: fc.record({ type: type('clock'), device, year: fc.constantFrom(1970, 2026, 2099) }) },
    { weight: 1, arbitrary: fc.record({ type: type('minute') }) },
    {
      weight: 3,
      arbitrary: fc.record({ type: type('forge'), lane, how: fc.constantFrom<'made' | 'altered' | 'replayed'>('made', 'altered', 'replayed'), pick }),
    },
  ),
  { minLength: 5, maxLength: 40 },
);
