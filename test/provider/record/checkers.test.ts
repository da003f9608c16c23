import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from 'vitest';
import { seal } from '../../../certs/envelope.ts';
import { type Checked, Checker } from '../../../provider/record/check.ts';
import { Checkers } from '../../../provider/record/checkers.ts';
import { Recorder } from '../../../provider/record/recorder.ts';
import { LogRegistry } from '../../../provider/registry/log-registry.ts';
import { MemoryTable } from '../../../provider/registry/memory-table.ts';
import { keys } from '../../../provider/registry/rows.ts';
import { systemClock } from '../../../shared/base/clock.ts';
import { toWardcastError } from '../../../shared/base/errors.ts';
import type { GatewayIdentity } from '../../../shared/base/identity.ts';
import { CHECK_BATCH, CHECK_RUSH, CHECKERS_IDLE } from '../../../shared/base/limits.ts';
import { silentLog } from '../../../shared/base/log.ts';
import { append, FOUNDED } from '../../contract/registry.contract.ts';
import { Vendor } from '../provider-rig.ts';
import { confirmation, inventory } from '../statements.ts';

const GATEWAY: GatewayIdentity = { role: 'gateway', customer: 'acme', site: 'north', gateway: 'gw-1' };
const DEVICES = ['ct-1', 'ct-2'];
let vendor: Vendor;
/** Of each device, by counter: what it signed. */
let envelopes: Buffer[][];
beforeAll(async () => {
  vendor = await Vendor.found();
  envelopes = DEVICES.map((device) =>
    Array.from({ length: 60 }, (_, at) => {
      const statement = at % 7 === 0 ? inventory(device, at + 1, { viewer: `1.0.${at}` }) : confirmation(device, at + 1, { version: `1.0.${at}` });
      return Buffer.from(JSON.stringify(seal(Buffer.from(JSON.stringify(statement)), vendor.credentials(device))));
    }),
  );
});
afterAll(() => vendor.close());

function checkers(threads: number): Checkers {
  const made = new Checkers({ credentials: () => vendor.credentials('provider'), clock: systemClock, log: silentLog, threads });
  onTestFinished(() => made.close());
  return made;
}

/** Has its threads running: from now on every statement goes through them. */
async function rushing(threads: number): Promise<Checkers> {
  const made = checkers(threads);
  const [first = Buffer.alloc(0)] = envelopes[0] ?? [];
  // Until they are ready statements are checked at once, within the call; a thread's answer takes a turn of the event loop at least.
  for (let aside = false; !aside; ) {
    let done = false;
    const checking = made.check(first, CHECK_RUSH).then(() => {
      done = true;
    });
    await Promise.resolve().then(() => undefined);
    aside = !done;
    await checking;
    await new Promise((resolve) => setImmediate(resolve));
  }
  expect(made.threads).toBe(threads);
  return made;
}

function told(result: PromiseSettledResult<Checked>): unknown {
  return result.status === 'fulfilled' ? result.value : toWardcastError(result.reason).toJSON();
}

/** Genuine ones, ones with a foreign payload or a broken signature, and what is no envelope at all. */
function spoilt(envelope: Buffer, how: number): Buffer {
  const parts: { payload: string; signature: string; chain: string[] } = JSON.parse(envelope.toString());
  if (how === 1) return Buffer.from('{');
  if (how === 2) return Buffer.from(JSON.stringify({ ...parts, payload: Buffer.from('{}').toString('base64') }));
  if (how === 3) return Buffer.from(JSON.stringify({ ...parts, signature: parts.signature.replace(/^./, '!') }));
  if (how === 4) return Buffer.from(JSON.stringify({ ...parts, chain: parts.chain.slice(1) }));
  return envelope;
}

describe('statements verified on threads', () => {
  test('come out as one thread alone would tell them, in the order of the calls', async () => {
    const made = await rushing(2);
    const alone = new Checker();
    const terms = { rootPem: vendor.credentials('provider').rootPem, now: systemClock.now() };
    const call = fc.tuple(fc.nat(1), fc.nat(59), fc.nat(9));
    await fc.assert(
      fc.asyncProperty(fc.array(call, { maxLength: 3 * CHECK_BATCH }), async (calls) => {
        const bytes = calls.map(([device, at, how]) => spoilt(envelopes[device]?.[at] ?? Buffer.alloc(0), how));
        const order: number[] = [];
        const results = await Promise.allSettled(
          bytes.map((one, at) =>
            made.check(one, CHECK_RUSH).finally(() => {
              order.push(at);
            }),
          ),
        );
        expect(order).toEqual(bytes.map((_, at) => at));
        const [expected] = [await Promise.allSettled(bytes.map(async (one) => alone.check(one, terms)))];
        expect(results.map(told)).toEqual(expected.map(told));
      }),
      { numRuns: 15 },
    );
  });

  test('are all answered when the threads end in the middle', async () => {
    const made = await rushing(2);
    const bytes = envelopes.flat();
    const order: number[] = [];
    const all = bytes.map((one, at) =>
      made.check(one, CHECK_RUSH).then((checked) => {
        order.push(at);
        return checked.statement.counter;
      }),
    );
    // Some are with the threads by now, some still wait.
    await new Promise((resolve) => setImmediate(resolve));
    made.close();
    expect(made.threads).toBe(0);
    expect(await Promise.all(all)).toEqual(DEVICES.flatMap(() => Array.from({ length: 60 }, (_, at) => at + 1)));
    expect(order).toEqual(bytes.map((_, at) => at));
  });

  test('need none on a quiet day, and with a single processor never', async () => {
    const [first = Buffer.alloc(0)] = envelopes[0] ?? [];
    const quiet = checkers(2);
    await quiet.check(first, CHECK_RUSH - 1);
    expect(quiet.threads).toBe(0);
    const single = checkers(0);
    await single.check(first, CHECK_RUSH);
    expect(single.threads).toBe(0);
    expect(CHECKERS_IDLE).toBeGreaterThan(0);
  });
});

test('law: however the statements of several devices come at once, each device has its own in order on the log, and the registry is the same', async () => {
  // What each device sends, in its order; how these are mixed; how many threads.
  const mix = fc.array(fc.nat(1), { minLength: 120, maxLength: 120 });
  await fc.assert(
    fc.asyncProperty(mix, fc.constantFrom(0, 1, 2), async (turns, threads) => {
      const registry = new LogRegistry(new MemoryTable(), { clock: systemClock, log: silentLog });
      await append(registry, ...FOUNDED, { type: 'device-added', customer: 'acme', site: 'north', group: 'ct', device: 'ct-2' });
      const made = threads === 0 ? checkers(0) : await rushing(threads);
      const o = { registry, credentials: () => vendor.credentials('provider'), clock: systemClock };
      const recorder = new Recorder({ ...o, checkers: made });
      const left = envelopes.map((all) => [...all]);
      const mixed = turns.map((turn) => left[turn]?.shift() ?? left[1 - turn]?.shift() ?? Buffer.alloc(0));
      // Each once more at the end: repetition changes nothing.
      const recorded = await Promise.all([...mixed, ...mixed.slice(0, 20)].map((bytes) => recorder.record(bytes, GATEWAY)));
      expect(recorded.every(({ receipt }) => receipt.outcome === 'recorded')).toBe(true);
      // A receipt names an entry that its head covers: nothing is receipted before it is on the log.
      expect(recorded.every(({ receipt }) => (receipt.entry?.sequence ?? Number.NaN) <= registry.head.sequence)).toBe(true);
      const counters = DEVICES.map((): number[] => []);
      for (const { statement } of recorded.slice(0, 120).toSorted((a, b) => (a.receipt.entry?.sequence ?? 0) - (b.receipt.entry?.sequence ?? 0)))
        counters[DEVICES.indexOf(statement.device)]?.push(statement.counter);
      for (const one of counters) expect(one).toEqual(Array.from({ length: 60 }, (_, at) => at + 1));
      expect(registry.head.sequence).toBe(FOUNDED.length + 1 + 120);
      expect(await registry.check()).toMatchObject({ differences: [] });
      for (const device of DEVICES) expect(await registry.get(keys.standing('acme', device))).toMatchObject({ counter: 60, running: [{ version: '1.0.59' }] });
      made.close();
    }),
    { numRuns: 6 },
  );
});
