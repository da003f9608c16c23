import { expect, onTestFinished, test } from 'vitest';
import { Planner } from '../../provider/planner.ts';
import type { Change } from '../../provider/registry/changes.ts';
import { LogRegistry } from '../../provider/registry/log-registry.ts';
import { MemoryTable } from '../../provider/registry/memory-table.ts';
import { type Scope, scopePath } from '../../shared/base/identity.ts';
import { PLAN_RETRY_MAX, PLAN_RETRY_MIN } from '../../shared/base/limits.ts';
import { append, FOUNDED, released } from '../contract/registry.contract.ts';
import { ManualClock } from '../support/manual-clock.ts';
import { RecordingLog } from '../support/recording-log.ts';

class FailingTable extends MemoryTable {
  /** Keys whose reading fails start with it. */
  failing: string | undefined;
  override get(key: string): Buffer | undefined {
    this.#check(key);
    return super.get(key);
  }
  override async *scan(from: string, to: string): AsyncGenerator<readonly [string, Buffer]> {
    this.#check(from);
    yield* super.scan(from, to);
  }
  #check(key: string): void {
    if (this.failing !== undefined && key.includes(this.failing)) throw new Error('input/output error');
  }
}

interface Bench {
  readonly table: FailingTable;
  readonly registry: LogRegistry;
  readonly clock: ManualClock;
  readonly log: RecordingLog;
  readonly planner: Planner;
  readonly stop: AbortController;
  /** Scopes of all attempts. */
  readonly assigned: string[];
  /** The group whose assignment fails. */
  refusing: string | undefined;
}

/** Two groups with a device each, and a release that nobody is to run yet. */
async function bench(): Promise<Bench> {
  const clock = new ManualClock();
  const log = new RecordingLog();
  const table = new FailingTable();
  const registry = new LogRegistry(table, { clock, log });
  onTestFinished(() => registry.close());
  await append(registry, ...FOUNDED, { type: 'device-added', customer: 'acme', site: 'north', group: 'pumps', device: 'pump-1' }, released('viewer', '1.0.0'));
  const stop = new AbortController();
  onTestFinished(() => stop.abort(new Error('over')));
  const made: Bench = {
    table,
    registry,
    clock,
    log,
    stop,
    assigned: [],
    refusing: undefined,
    planner: new Planner({
      registry,
      assign: async (scope: Scope) => {
        made.assigned.push(scopePath(scope));
        if (scope.group === made.refusing) throw new Error('no key');
      },
      offer: async () => undefined,
      groupKey: async (_scope, epoch) => ({ epoch, commitment: 'c'.repeat(64) }),
      clock,
      log,
      random: () => 1,
      signal: stop.signal,
    }),
  };
  registry.onEntry((entry) => made.planner.changed(entry));
  return made;
}

function current(group: string): Change {
  return { type: 'current-set', customer: 'acme', group, site: null, application: 'viewer', version: '1.0.0', allowDowngrade: false };
}

const CT = 'acme/north/ct';
const PUMPS = 'acme/north/pumps';
const SECOND = 1000;

test('an assignment that failed is tried again, ever more seldom, and other groups do not wait for it', async () => {
  const made = await bench();
  made.refusing = 'ct';
  await append(made.registry, current('ct'));
  await made.clock.advance(PLAN_RETRY_MIN / 2);
  expect(made.assigned).toEqual([CT]);
  await append(made.registry, current('pumps'));
  await made.clock.advance(PLAN_RETRY_MIN / 4);
  expect(made.assigned).toEqual([CT, PUMPS]);
  // The bench's assignments leave no trace in the registry: what is not failing is not looked at again.
  made.assigned.length = 0;
  await made.clock.advance(6 * PLAN_RETRY_MAX);
  expect(made.assigned.length).toBeGreaterThan(8);
  expect(made.assigned.length).toBeLessThan(20);
  expect(new Set(made.assigned)).toEqual(new Set([CT]));
  made.refusing = undefined;
  made.assigned.length = 0;
  await made.clock.advance(6 * PLAN_RETRY_MAX);
  expect(made.assigned).toEqual([CT]);
});

test.each(['bundle/', 'release/', 'runs/acme/'])('a plan that could not read %s is made once it can', async (what) => {
  const made = await bench();
  await append(made.registry, current('ct'));
  made.table.failing = what;
  made.planner.start();
  await made.clock.advance(PLAN_RETRY_MAX);
  expect(made.assigned).toEqual([]);
  made.table.failing = undefined;
  await made.clock.advance(PLAN_RETRY_MAX + SECOND);
  expect(made.assigned).toEqual([CT]);
});

test('a group that cannot be read keeps no other waiting', async () => {
  const made = await bench();
  made.table.failing = 'bundle/acme/north/ct';
  await append(made.registry, current('ct'), current('pumps'));
  await made.clock.advance(PLAN_RETRY_MIN / 2);
  expect(made.assigned).toEqual([PUMPS]);
});

test('nothing is tried again after the stop', async () => {
  const made = await bench();
  made.refusing = 'ct';
  await append(made.registry, current('ct'));
  await made.clock.advance(PLAN_RETRY_MIN / 2);
  expect(made.clock.sleeping).toBe(1);
  made.stop.abort(new Error('stopping'));
  await made.clock.advance(PLAN_RETRY_MAX);
  expect(made.clock.sleeping).toBe(0);
  expect(made.assigned).toEqual([CT]);
});
