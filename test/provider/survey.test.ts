import fc from 'fast-check';
import { expect, onTestFinished, test } from 'vitest';
import { deviceSnapshot, Planner } from '../../provider/planner.ts';
import { encode } from '../../provider/registry/keyspace.ts';
import { openLevelTable } from '../../provider/registry/level-table.ts';
import { LogRegistry } from '../../provider/registry/log-registry.ts';
import { MemoryTable } from '../../provider/registry/memory-table.ts';
import type { Standing } from '../../provider/registry/rows.ts';
import { runningIn, surveyRunning } from '../../provider/survey.ts';
import { type Scope, scopePath } from '../../shared/base/identity.ts';
import { SCAN_ROWS, SURVEY_FROM } from '../../shared/base/limits.ts';
import { append, FOUNDED, released } from '../contract/registry.contract.ts';
import { ManualClock } from '../support/manual-clock.ts';
import { RecordingLog } from '../support/recording-log.ts';
import { temporaryDirectory } from '../support/temporary-directory.ts';

/** Texts that look like the row's own fields. */
const hostile = fc.oneof(fc.string(), fc.constantFrom('"running":[', '],"results":[', '\\"running\\":[{}],"results":['));
const running = fc.record({ application: hostile, version: fc.option(hostile), manifest: fc.option(hostile), counter: fc.nat(), at: hostile });
const standings: fc.Arbitrary<Standing> = fc.record({
  customer: fc.constant('acme'),
  device: fc.constant('ct-1'),
  counter: fc.nat(),
  digest: hostile,
  at: hostile,
  inventory: fc.nat(),
  agent: fc.option(hostile),
  running: fc.array(running, { maxLength: 4 }),
  results: fc.array(
    fc.record({
      application: hostile,
      version: hostile,
      manifest: hostile,
      sequence: fc.nat(),
      result: fc.constantFrom('installed', 'failed'),
      reason: fc.option(hostile),
      counter: fc.nat(),
      at: hostile,
    }),
    { maxLength: 3 },
  ),
});

test('what runs is read out of a row as if all of it were parsed, whatever texts it holds', () => {
  fc.assert(
    fc.property(standings, (standing) => {
      expect(runningIn(encode(standing))).toEqual(standing.running);
      const { results, ...rest } = standing;
      expect(runningIn(encode({ results, ...rest }))).toEqual(standing.running);
    }),
  );
});

/** A group as large as a survey needs, some of whose devices run the release, some another, and some have never spoken. */
async function large(table: MemoryTable): Promise<LogRegistry> {
  const registry = new LogRegistry(table, { clock: new ManualClock(), log: new RecordingLog() });
  const manifest = 'a'.repeat(64);
  await append(registry, ...FOUNDED, released('viewer', '1.0.0'));
  const rows = new Map<string, Buffer>();
  for (let i = 0; i < SURVEY_FROM; i++) {
    const device = `mass-${i}`;
    rows.set(`r!member/acme/north/ct/${device}`, encode({ customer: 'acme', site: 'north', group: 'ct', device }));
    if (i % 3 === 0) continue;
    const run = { application: 'viewer', version: '1.0.0', manifest: i % 3 === 1 ? manifest : 'b'.repeat(64), counter: 1, at: '' };
    const standing: Standing = { customer: 'acme', device, counter: 1, digest: '', at: '', inventory: 1, agent: null, running: [run], results: [] };
    rows.set(`r!standing/acme/${device}`, encode(standing));
  }
  await table.commit(rows);
  return registry;
}

test('a survey knows of every device what a look-up of each would', async () => {
  const registry = await large(new MemoryTable());
  onTestFinished(() => registry.close());
  const surveyed = await surveyRunning(registry, 'acme');
  for await (const rows of registry.batches<Standing>({ text: 'standing/acme/' })) {
    expect(rows.length).toBe(surveyed.size);
    for (const [key, row] of rows) {
      const standing: Standing = JSON.parse(row.toString());
      expect(surveyed.get(key.slice('standing/acme/'.length))).toEqual(deviceSnapshot(standing.device, standing).running);
    }
  }
});

test.each([false, true])('a plan over a large group finds the same devices due (the survey fails: %s)', async (fails) => {
  class Table extends MemoryTable {
    override batches(from: string, to: string): AsyncGenerator<readonly (readonly [string, Buffer])[]> {
      if (fails && from.includes('standing/')) throw new Error('input/output error');
      return super.batches(from, to);
    }
  }
  const registry = await large(new Table());
  onTestFinished(() => registry.close());
  const clock = new ManualClock();
  const log = new RecordingLog();
  const stop = new AbortController();
  onTestFinished(() => stop.abort());
  const assigned: string[] = [];
  const assign = async (scope: Scope): Promise<void> => void assigned.push(scopePath(scope));
  const planner = new Planner({ registry, assign, offer: async () => undefined, clock, log, signal: stop.signal });
  await append(registry, { type: 'current-set', customer: 'acme', group: 'ct', site: null, application: 'viewer', version: '1.0.0', allowDowngrade: false });
  planner.start();
  await clock.advance(1000);
  await planner.settled();
  expect(assigned).toEqual(['acme/north/ct']);
  const due = log.lines.find(({ event }) => event === 'plan.due');
  const release = await registry.get<{ manifest: string }>({ text: 'release/viewer/1.0.0' });
  const behind = release?.manifest === 'a'.repeat(64) ? Math.ceil((SURVEY_FROM * 2) / 3) : SURVEY_FROM;
  // And the device that was there from the beginning.
  expect(due).toMatchObject({ devices: behind + 1 });
});

test('level hands out all rows of a prefix in batches, in order', async () => {
  const table = await openLevelTable(await temporaryDirectory());
  onTestFinished(() => table.close());
  const keys = Array.from({ length: 2 * SCAN_ROWS + 7 }, (_, i) => `r!a/${String(i).padStart(5, '0')}`);
  await table.commit(new Map([...keys, 'r!b/0'].map((key) => [key, Buffer.from(key)])));
  const seen: string[] = [];
  for await (const rows of table.batches('r!a/', 'r!a0')) {
    expect(rows.length).toBeLessThanOrEqual(SCAN_ROWS);
    for (const [key, value] of rows) {
      expect(value.toString()).toBe(key);
      seen.push(key);
    }
  }
  expect(seen).toEqual(keys);
});
