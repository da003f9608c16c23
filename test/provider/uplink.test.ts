import { expect, it, onTestFinished } from 'vitest';
import { Offers } from '../../provider/deliver/offers.ts';
import { Repositories } from '../../provider/deliver/repositories.ts';
import { Events } from '../../provider/events.ts';
import { Checkers } from '../../provider/record/checkers.ts';
import { Recorder } from '../../provider/record/recorder.ts';
import { LogRegistry } from '../../provider/registry/log-registry.ts';
import { MemoryTable } from '../../provider/registry/memory-table.ts';
import { Reports } from '../../provider/reports.ts';
import { Uplink } from '../../provider/uplink.ts';
import type { GatewayIdentity } from '../../shared/base/identity.ts';
import { MAX_QUEUED_CHANGES } from '../../shared/base/limits.ts';
import { silentLog } from '../../shared/base/log.ts';
import { up } from '../../shared/wire/topics.ts';
import { ManualClock } from '../support/manual-clock.ts';

const GATEWAY: GatewayIdentity = { role: 'gateway', customer: 'acme', site: 'north', gateway: 'gw-1' };

/** A disk that is slow until it is told to go on. */
class SlowTable extends MemoryTable {
  readonly #gate: Promise<void>;

  constructor(gate: Promise<void>) {
    super();
    this.#gate = gate;
  }

  override async commit(writes: ReadonlyMap<string, Buffer | undefined>): Promise<void> {
    await this.#gate;
    await super.commit(writes);
  }
}

it('what a gateway says while the log is behind is taken as soon as there is room, for nobody says it again on a living connection', async () => {
  const disk = Promise.withResolvers<void>();
  const clock = new ManualClock();
  const registry = new LogRegistry(new SlowTable(disk.promise), { clock, log: silentLog });
  const stop = new AbortController();
  onTestFinished(() => {
    stop.abort();
    disk.resolve();
  });
  const nobody = (): never => {
    throw new Error('nobody signs here');
  };
  const broker = { send: async () => undefined, publish: async () => undefined };
  const uplink = new Uplink({
    broker,
    recorder: new Recorder({ registry, credentials: nobody, clock, checkers: new Checkers({ credentials: nobody, clock, log: silentLog, threads: 0 }) }),
    receipts: { post: async () => undefined },
    planner: { look: () => undefined },
    offers: new Offers({ broker, repositories: new Repositories(registry), log: silentLog }),
    objects: { handle: () => undefined },
    reports: new Reports(registry),
    groupKeys: { answer: () => Promise.reject(new Error('nobody asks for keys here')) },
    time: { answer: () => Promise.reject(new Error('nobody asks for the time here')) },
    events: new Events({ broker, clock, log: silentLog }),
    enrolments: { answer: async () => ({ status: 'busy' }) },
    alarms: { raise: async () => undefined, keep: async () => undefined },
    clock,
    signal: stop.signal,
    log: silentLog,
  });
  const backlog = Array.from({ length: MAX_QUEUED_CHANGES * 2 }, () => registry.transact('flood', () => ({ result: undefined })));
  void Promise.allSettled(backlog);

  let accepted = false;
  const payload = Buffer.from(JSON.stringify({ version: '1.0.0', groups: [{ group: 'ct', sequence: 7 }] }));
  const accept = (): void => {
    accepted = true;
  };
  const handling = uplink.handle(GATEWAY, 'hello', { topic: up(GATEWAY, 'hello'), payload, accept });
  await clock.advance(10_000);
  expect(accepted).toBe(false);
  disk.resolve();
  await clock.advance(10_000);
  await handling;
  expect(accepted).toBe(true);
  expect(await new Reports(registry).relayed({ customer: GATEWAY.customer, site: GATEWAY.site, group: 'ct' })).toBe(7);
});
