import { cp, readdir, readFile, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { LogHead } from '../../gateway/log-head.ts';
import { Uplink } from '../../gateway/uplink.ts';
import { readWitness } from '../../provider/audit/witness.ts';
import type { Provider } from '../../provider/provider.ts';
import { systemClock } from '../../shared/base/clock.ts';
import type { GatewayIdentity } from '../../shared/base/identity.ts';
import { LOG_HEAD_INTERVAL, MAX_HEADS_ASIDE } from '../../shared/base/limits.ts';
import { sha256 } from '../../shared/bundle/digest.ts';
import { openLink } from '../../shared/net/link.ts';
import { openReceipts } from '../../shared/net/receipts.ts';
import type { LogPoint } from '../../shared/wire/messages.ts';
import { Operator, Vendor } from '../provider/provider-rig.ts';
import { ManualClock } from '../support/manual-clock.ts';
import { TestNotary } from '../support/notary.ts';
import { RecordingLog } from '../support/recording-log.ts';
import { temporaryDirectory } from '../support/temporary-directory.ts';

let vendor: Vendor;
beforeAll(async () => {
  vendor = await Vendor.found();
});
afterAll(() => vendor.close());

describe('the head of the provider’s log at a gateway', () => {
  let directory: string;
  let log: RecordingLog;
  let clock: ManualClock;
  let notary: TestNotary;
  let head: LogHead;
  let asked: number;
  const open = async (): Promise<void> => {
    head = await LogHead.open({ directory, clock, log, ask: () => asked++ });
  };
  beforeEach(async () => {
    directory = await temporaryDirectory();
    log = new RecordingLog();
    clock = new ManualClock();
    asked = 0;
    notary = new TestNotary(vendor.credentials('provider'));
    for (let entry = 1; entry <= 5; entry++) notary.log(`entry ${entry}`);
    await open();
  });
  /** A signed head as it comes over the line; `answers`: to the question that named this. */
  const show = (by = notary, answers?: LogPoint): Promise<void> => {
    const message = Buffer.from(JSON.stringify(by.receipts([], { answers })));
    return head.shown(openReceipts(message, vendor.credentials('gateway').rootPem, { now: Date.now() }));
  };
  const rewritten = (): number => log.all('log.rewritten').length;
  const aside = async (): Promise<string[]> => (await readdir(directory)).filter((name) => name.includes('contradicted'));

  it('is kept over restarts, as a file that an audit takes, and goes forward with the proof alone', async () => {
    await show();
    const first = notary.point;
    expect(head.point).toEqual(first);
    notary.log('entry 6');
    await show();
    expect(head.point).toEqual(first);
    expect(asked).toBe(1);
    await show(notary, first);
    expect(head.point).toEqual(notary.point);
    await open();
    expect(head.point).toEqual(notary.point);
    const file = join(directory, 'log-head.json');
    expect(readWitness(file, await readFile(file), vendor.credentials('provider').rootPem)).toMatchObject(notary.point);
    expect(rewritten()).toBe(0);
  });

  it('is asked about once in a while only, however many heads go by', async () => {
    await show();
    for (let entry = 0; entry < 20; entry++) {
      notary.log(`more ${entry}`);
      await show();
    }
    expect(asked).toBe(1);
    await clock.advance(LOG_HEAD_INTERVAL);
    await show();
    expect(asked).toBe(2);
  });

  it('is not contradicted by messages that come late, twice, or as answers to older questions', async () => {
    const old = notary.forked(3);
    await show(old);
    await show(notary, old.point);
    const now = notary.point;
    await show(old);
    await show(old, notary.forked(2).point);
    await show(notary, old.point);
    await show();
    expect(head.point).toEqual(now);
    expect(rewritten()).toBe(0);
    expect(head.contradictions).toBe(0);
  });

  it('shows a provider that went back to an old backup, keeps the evidence, and watches the log from there', async () => {
    await show();
    const kept = notary.point;
    const evidence = await readFile(join(directory, 'log-head.json'));
    const restored = notary.forked(2);
    restored.log('something else');
    await show(restored);
    expect(asked).toBe(1);
    expect(rewritten()).toBe(0);
    await show(restored, kept);
    expect(log.all('log.rewritten')).toMatchObject([{ level: 'error', kept, shown: restored.point }]);
    expect(head.contradictions).toBe(1);
    expect(await Promise.all((await aside()).map((name) => readFile(join(directory, name))))).toEqual([evidence]);
    await open();
    expect(head.contradictions).toBe(1);
    restored.log('and more');
    await show(restored, head.point);
    expect(head.point).toEqual(restored.point);
    expect(rewritten()).toBe(1);
  });

  it('shows a fork: two heads of one size, or a proof that proves something else', async () => {
    await show();
    const fork = notary.forked(4);
    fork.log('another fifth');
    await show(fork);
    expect(rewritten()).toBe(1);
    notary.log('entry 6');
    const lie = notary.receipts([], { answers: notary.forked(5).point });
    const kept = head.point;
    if (kept === undefined || lie.since === undefined) throw new Error('nothing kept');
    const message = Buffer.from(JSON.stringify({ ...lie, since: { ...lie.since, ...kept } }));
    await head.shown(openReceipts(message, vendor.credentials('gateway').rootPem, { now: Date.now() }));
    expect(rewritten()).toBe(2);
    expect(head.contradictions).toBe(2);
  });

  it('leaves no more evidence than is of use when the provider forks for ever', async () => {
    await show();
    for (let fork = 0; fork < MAX_HEADS_ASIDE + 5; fork++) {
      const other = notary.forked(4);
      other.log(`fork ${fork}`);
      await show(other);
    }
    expect(rewritten()).toBe(MAX_HEADS_ASIDE + 5);
    expect(await aside()).toHaveLength(MAX_HEADS_ASIDE);
  });
});

it('a gateway notices at its next connect that the provider was put back to an old backup, and so does the provider', async () => {
  const data = await temporaryDirectory();
  const backup = await temporaryDirectory();
  const directory = await temporaryDirectory();
  const log = new RecordingLog();
  const credentials = vendor.credentials('gateway');
  const { identity } = credentials;
  if (identity.role !== 'gateway') throw new Error('not a gateway');
  const gateway: GatewayIdentity = identity;
  /** One life of the provider: the gateway connects, asks, and hears the answer. */
  const life = async (provided: RecordingLog, work: (operator: Operator) => Promise<void>, heard: () => Promise<unknown>): Promise<void> => {
    const provider: Provider = await vendor.inProcess(data, provided);
    const stop = new AbortController();
    try {
      const operator = await new Operator(vendor.credentials('ops'), provider.port).up();
      await work(operator);
      await operator.close();
      const link = openLink({ host: '127.0.0.1', port: provider.port, credentials, expect: ({ role }) => role === 'provider', log, clock: systemClock });
      const nothing = (): void => undefined;
      const uplink = new Uplink({
        ...{ link, gateway, rootPem: credentials.rootPem, version: '0.1.0', groups: () => [], clock: systemClock, log },
        ...{ offer: nothing, time: nothing, groupKeys: nothing, enrolled: nothing, lineUp: nothing, lineDown: nothing },
        receipt: async () => undefined,
        // A gateway that has none yet takes the first one that comes; here it names the empty log.
        head: () => head.point ?? { size: 0, root: sha256(Buffer.alloc(0)) },
        headShown: async (opened) => {
          await head.shown(opened);
          log.info('test.shown', { size: opened.head.size });
        },
      });
      const running = uplink.run(stop.signal);
      await heard();
      stop.abort();
      await running.catch(() => undefined);
      await link.close();
    } finally {
      await provider.close();
    }
  };
  const head = await LogHead.open({ directory, clock: systemClock, log, ask: () => undefined });
  const first = new RecordingLog();
  await life(
    first,
    (operator) => operator.founded().then(() => undefined),
    () => log.seen('test.shown'),
  );
  const kept = head.point;
  expect(kept?.size).toBeGreaterThan(1);
  await cp(data, backup, { recursive: true });
  // Goes on as it should.
  log.lines.length = 0;
  await life(
    first,
    async (operator) => {
      await operator.call('site.add', { customer: 'acme', site: 'east' });
    },
    () => log.seen('test.shown'),
  );
  expect(head.point?.size).toBe((kept?.size ?? 0) + 1);
  expect([...first.all('log.contradicted'), ...log.all('log.rewritten')]).toEqual([]);
  // Put back, and on from there otherwise.
  await rm(data, { recursive: true });
  await cp(backup, data, { recursive: true });
  const second = new RecordingLog();
  log.lines.length = 0;
  await life(
    second,
    async (operator) => {
      await operator.call('site.add', { customer: 'acme', site: 'west' });
    },
    () => log.seen('log.rewritten'),
  );
  expect(second.all('log.contradicted')).toHaveLength(1);
  expect(head.contradictions).toBe(1);
  // It stands in the status, over a restart too, until somebody looked into it.
  log.lines.length = 0;
  await life(
    new RecordingLog(),
    async (operator) => {
      const about = { customer: 'acme', site: 'north', device: 'gw-1' };
      expect((await operator.call('status', {})).alarms).toMatchObject([{ type: 'log-contradicted', ...about, count: 1 }]);
      expect(await operator.call('alarm.dismiss', { customer: 'acme', device: 'gw-1' })).toEqual({ dismissed: 1 });
      expect((await operator.call('status', {})).alarms).toEqual([]);
    },
    () => log.seen('test.shown'),
  );
});
