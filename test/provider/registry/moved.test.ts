import fc from 'fast-check';
import { expect, test } from 'vitest';
import { LogRegistry } from '../../../provider/registry/log-registry.ts';
import { MemoryTable } from '../../../provider/registry/memory-table.ts';
import { type Key, keys, type Prefix } from '../../../provider/registry/rows.ts';
import { systemClock } from '../../../shared/base/clock.ts';
import { silentLog } from '../../../shared/base/log.ts';
import type { Confirmation } from '../../../shared/wire/messages.ts';
import { append, FOUNDED, stated } from '../../contract/registry.contract.ts';
import { confirmation } from '../statements.ts';

const bytes = fc.oneof({ weight: 9, arbitrary: fc.integer({ min: 0, max: 1_000_000_000 }) }, fc.constant(Number.MAX_SAFE_INTEGER));
/** Confirmations of two devices with counters of their own; one in a while says nothing about its bytes. */
const confirmations = fc
  .array(
    fc.record({
      device: fc.constantFrom('ct-1', 'ct-2'),
      version: fc.constantFrom('1.0.0', '1.1.0'),
      sequence: fc.integer({ min: 1, max: 2 }),
      ok: fc.boolean(),
      sources: fc.option(fc.record({ gateway: bytes, peer: bytes, own: bytes }), { nil: undefined, freq: 8 }),
    }),
    { minLength: 1, maxLength: 10 },
  )
  .map((all) =>
    all.map(({ device, version, sequence, ok, sources }, at) =>
      confirmation(device, at + 1, { version, sequence, result: ok ? 'installed' : 'failed', ...(sources === undefined ? {} : { sources }) }),
    ),
  );

const EVERYTHING: Prefix<unknown> = { text: 'moved-' };

async function told(said: readonly Confirmation[]): Promise<{ rows: unknown[]; registry: LogRegistry }> {
  const registry = new LogRegistry(new MemoryTable(), { clock: systemClock, log: silentLog });
  await append(registry, ...FOUNDED, ...said.map(stated));
  const rows: unknown[] = [];
  for await (const row of registry.list(EVERYTHING)) rows.push(row);
  return { rows, registry };
}

test('any order and any repetition of confirmations gives the same sums, and the replayed log the same bytes', async () => {
  const mixed = confirmations.chain((all) => fc.tuple(fc.constant(all), fc.shuffledSubarray([...all, ...all], { minLength: all.length * 2 })));
  await fc.assert(
    fc.asyncProperty(mixed, async ([once, again]) => {
      const straight = await told(once);
      const shuffled = await told(again);
      expect(JSON.stringify(shuffled.rows)).toBe(JSON.stringify(straight.rows));
      expect(await shuffled.registry.check()).toMatchObject({ differences: [] });
    }),
    { numRuns: 60 },
  );
});

test('sums over the device and release, the bundle, and the site', async () => {
  const sources = (gateway: number, peer: number, own: number): Partial<Confirmation> => ({ sources: { gateway, peer, own } });
  const { registry } = await told([
    confirmation('ct-1', 1, { ...sources(10, 0, 5), result: 'failed' }),
    confirmation('ct-1', 2, sources(90, 3, 0)),
    confirmation('ct-2', 1, sources(1, 92, 7)),
  ]);
  const row = <T>(key: Key<T>): Promise<T | undefined> => registry.get(key);
  const scope = { customer: 'acme', site: 'north', group: 'ct' };
  expect(await row(keys.deviceMoved('acme', 'ct-1', 'viewer', '1.0.0'))).toMatchObject({
    gateway: 100,
    peer: 3,
    own: 5,
    confirmations: 2,
    counter: 2,
    result: 'installed',
  });
  expect(await row(keys.bundleMoved(scope, 1, 'viewer', '1.0.0'))).toMatchObject({ gateway: 101, peer: 95, own: 12, confirmations: 3, most: 93 });
  expect(await row(keys.siteMoved('acme', 'north'))).toEqual({ customer: 'acme', site: 'north', gateway: 101, peer: 95, own: 12, confirmations: 3 });
});
