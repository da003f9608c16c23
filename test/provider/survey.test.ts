import fc from 'fast-check';
import { expect, onTestFinished, test } from 'vitest';
import type { Content } from '../../provider/plan.ts';
import { Planner } from '../../provider/planner.ts';
import { said } from '../../provider/record/said.ts';
import type { Change } from '../../provider/registry/changes.ts';
import { openLevelTable } from '../../provider/registry/level-table.ts';
import { LogRegistry } from '../../provider/registry/log-registry.ts';
import { MemoryTable } from '../../provider/registry/memory-table.ts';
import { keys, prefixes } from '../../provider/registry/rows.ts';
import { runningOf } from '../../provider/registry/runs.ts';
import { surveyGroups } from '../../provider/survey.ts';
import { isWardcastError } from '../../shared/base/errors.ts';
import { type Scope, scopePath } from '../../shared/base/identity.ts';
import { PLAN_DEBOUNCE, SCAN_ROWS } from '../../shared/base/limits.ts';
import { silentLog } from '../../shared/base/log.ts';
import { append, FOUNDED, released, stated } from '../contract/registry.contract.ts';
import { ManualClock } from '../support/manual-clock.ts';
import { temporaryDirectory } from '../support/temporary-directory.ts';
import { confirmation, inventory, manifestOf } from './statements.ts';

const DEVICES = ['ct-1', 'a', 'b', 'c'] as const;
const VERSIONS = ['1.0.0', '2.0.0'] as const;
const APPLICATIONS = ['viewer', 'driver'] as const;
const device = fc.constantFrom(...DEVICES);
const version = fc.constantFrom(...VERSIONS);
const application = fc.constantFrom(...APPLICATIONS);
const site = fc.constantFrom('north', 'south');
const group = fc.constantFrom('ct', 'pumps');
const place = fc.record({ customer: fc.constant('acme'), site, group, device });

const change: fc.Arbitrary<Change> = fc.oneof(
  place.map((at): Change => ({ type: 'device-added', ...at })),
  place.map((at): Change => ({ type: 'device-moved', ...at })),
  device.map((name): Change => ({ type: 'device-removed', customer: 'acme', device: name })),
  fc
    .record({ device, counter: fc.integer({ min: 1, max: 30 }), running: fc.dictionary(application, version) })
    .map((said) => stated(inventory(said.device, said.counter, said.running))),
  fc
    .record({ device, counter: fc.integer({ min: 1, max: 30 }), application, version, ok: fc.boolean(), nothing: fc.boolean() })
    .map(({ ok, nothing, ...said }) =>
      stated(confirmation(said.device, said.counter, { ...said, result: ok ? 'installed' : 'failed', ...(nothing ? { running: null } : {}) })),
    ),
  fc
    .record({ customer: fc.constant('acme'), group, site: fc.option(site), application, version: fc.option(version), allowDowngrade: fc.constant(true) })
    .map((set): Change => ({ type: 'current-set', ...set })),
  fc.record({ application, version, reason: fc.constant('broken') }).map((which): Change => ({ type: 'release-withdrawn', ...which })),
);
const histories = fc.array(fc.record({ change, wait: fc.boolean() }), { maxLength: 40 });

/** What the rules refuse leaves no trace. */
async function attempt(registry: LogRegistry, one: Change): Promise<void> {
  try {
    await append(registry, one);
  } catch (error) {
    if (isWardcastError(error) && ['CONFLICT', 'NOT_FOUND'].includes(error.code)) return;
    throw error;
  }
}

function founded(): LogRegistry {
  return new LogRegistry(new MemoryTable(), { clock: new ManualClock(), log: silentLog });
}

async function found(registry: LogRegistry): Promise<void> {
  const releases = APPLICATIONS.flatMap((name) => VERSIONS.map((number, index) => released(name, number, index + 1)));
  await append(registry, ...FOUNDED, ...releases);
}

/** Counted anew, device by device. */
async function recounted(registry: LogRegistry): Promise<Map<string, number>> {
  const counts = new Map<string, number>();
  for await (const member of registry.list(prefixes.members('acme'))) {
    const running = runningOf(await registry.get(keys.standing('acme', member.device)));
    const name = `${scopePath(member)} ${JSON.stringify(running)}`;
    counts.set(name, (counts.get(name) ?? 0) + 1);
  }
  return counts;
}

test('the rows of what groups run are the sums over their devices, whatever happened, and follow from the log', async () => {
  await fc.assert(
    fc.asyncProperty(histories, async (history) => {
      const registry = founded();
      await found(registry);
      for (const { change: one } of history) await attempt(registry, one);
      const rows = new Map<string, number>();
      for await (const row of registry.list(prefixes.runs('acme'))) rows.set(`${scopePath(row)} ${JSON.stringify(row.running)}`, row.devices);
      expect(rows).toEqual(await recounted(registry));
      expect((await registry.check()).differences).toEqual([]);
      await registry.close();
    }),
    { numRuns: 60 },
  );
});

/** One that assigns as the provider does, or only tells what it would assign; `did` names what it assigned and offered. */
function planning(registry: LogRegistry, { dry = false } = {}): { planner: Planner; clock: ManualClock; did: { assigned: Set<string>; offered: Set<string> } } {
  const clock = new ManualClock();
  const did = { assigned: new Set<string>(), offered: new Set<string>() };
  const assign = async (scope: Scope, { releases, withdrawn }: Content): Promise<void> => {
    did.assigned.add(scopePath(scope));
    if (dry) return;
    const sequence = ((await registry.get(keys.bundle(scope)))?.sequence ?? 0) + 1;
    await append(registry, { type: 'bundle-assigned', ...scope, sequence, bundle: manifestOf('bundle'), releases: [...releases], withdrawn: [...withdrawn] });
  };
  const groupKey = (): Promise<never> => Promise.reject(new Error('nothing is encrypted here'));
  const offer = async (scope: Scope): Promise<void> => void did.offered.add(scopePath(scope));
  return { planner: new Planner({ registry, assign, offer, groupKey, clock, log: silentLog, signal: new AbortController().signal }), clock, did };
}

async function wholePlan(registry: LogRegistry): Promise<{ assigned: Set<string>; offered: Set<string> }> {
  const { planner, clock, did } = planning(registry, { dry: true });
  planner.start();
  await clock.advance(PLAN_DEBOUNCE);
  await planner.settled();
  return did;
}

test('looking at what changed leaves a look at everything nothing to assign, and finds whoever is newly behind', async () => {
  let assignments = 0;
  let offers = 0;
  await fc.assert(
    fc.asyncProperty(histories, async (history) => {
      const registry = founded();
      await found(registry);
      const { planner, clock, did } = planning(registry);
      registry.onEntry((entry) => {
        planner.changed(entry);
        const { change: one } = entry;
        if (one.type !== 'statement') return;
        const { statement } = said(one);
        planner.look(statement, statement.device);
      });
      let before = await wholePlan(registry);
      for (const { change: one, wait } of [...history, { change: { type: 'customer-added', customer: 'last' } as const, wait: true }]) {
        await attempt(registry, one);
        if (!wait) continue;
        await clock.advance(PLAN_DEBOUNCE * 2);
        await planner.settled();
        const after = await wholePlan(registry);
        expect([...after.assigned]).toEqual([]);
        for (const name of after.offered) if (!before.offered.has(name)) expect([...did.offered]).toContain(name);
        assignments += did.assigned.size;
        offers += did.offered.size;
        did.assigned.clear();
        did.offered.clear();
        before = after;
      }
      await registry.close();
    }),
    { numRuns: 40 },
  );
  // The law says nothing where nothing happens.
  expect(assignments + offers).toBeGreaterThan(0);
});

test('a survey of one group reads that group alone, also where another begins alike', async () => {
  const registry = founded();
  onTestFinished(() => registry.close());
  await append(
    registry,
    ...FOUNDED,
    { type: 'group-added', customer: 'acme', group: 'ct-old' },
    { type: 'device-added', customer: 'acme', site: 'north', group: 'ct-old', device: 'old-1' },
    { type: 'device-added', customer: 'acme', site: 'south', group: 'ct', device: 'ct-2' },
  );
  const names = async (...only: readonly [string?, string?]): Promise<string[]> =>
    (await surveyGroups(registry, 'acme', ...only)).map(({ scope }) => scopePath(scope));
  expect(await names()).toEqual(['acme/north/ct-old', 'acme/north/ct', 'acme/south/ct']);
  expect(await names('ct')).toEqual(['acme/north/ct', 'acme/south/ct']);
  expect(await names('ct', 'north')).toEqual(['acme/north/ct']);
});

test('level hands out all rows of a prefix in batches, in order', async () => {
  const table = await openLevelTable(await temporaryDirectory());
  onTestFinished(() => table.close());
  const names = Array.from({ length: 2 * SCAN_ROWS + 7 }, (_, i) => `r!a/${String(i).padStart(5, '0')}`);
  await table.commit(new Map([...names, 'r!b/0'].map((key) => [key, Buffer.from(key)])));
  const seen: string[] = [];
  for await (const rows of table.batches('r!a/', 'r!a0')) {
    expect(rows.length).toBeLessThanOrEqual(SCAN_ROWS);
    for (const [key, value] of rows) {
      expect(value.toString()).toBe(key);
      seen.push(key);
    }
  }
  expect(seen).toEqual(names);
});
