import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { Counter } from '../../../agent/confirm/counter.ts';
import { KeptHead } from '../../../agent/confirm/kept-head.ts';
import { openReceipt } from '../../../agent/confirm/receipt.ts';
import { Statements, type StatementsOptions } from '../../../agent/confirm/statements.ts';
import type { Outcome } from '../../../agent/install/reporter.ts';
import { type Credentials, loadCredentials } from '../../../certs/credentials.ts';
import { open, seal } from '../../../certs/envelope.ts';
import { issueDevice } from '../../../certs/pki-directory.ts';
import { systemClock } from '../../../shared/base/clock.ts';
import { isWardcastError } from '../../../shared/base/errors.ts';
import type { DeviceIdentity } from '../../../shared/base/identity.ts';
import { sha256 } from '../../../shared/bundle/digest.ts';
import { Outbox } from '../../../shared/store/outbox.ts';
import { openState } from '../../../shared/store/state.ts';
import { Confirmation, type Receipt, Receipts, Signed, Statement } from '../../../shared/wire/messages.ts';
import { TestNotary } from '../../support/notary.ts';
import { MemoryRows } from '../../support/power-cut.ts';
import { RecordingLog } from '../../support/recording-log.ts';
import { Vendor } from '../../support/scripted-gateway.ts';

const device: DeviceIdentity = { role: 'device', customer: 'acme', site: 'north', group: 'ct', device: 'ct-1' };
const outcome: Outcome = {
  application: 'viewer',
  version: '1.0.0',
  manifest: 'a'.repeat(64),
  sequence: 3,
  result: 'installed',
  running: { version: '1.0.0', manifest: 'a'.repeat(64) },
};

let folder: string;
let vendor: Vendor;
let mine: Credentials;
let other: Credentials;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'wardcast-statements-'));
  vendor = await Vendor.create(folder, [
    { group: 'ct', device: 'ct-1' },
    { group: 'ct', device: 'ct-2' },
  ]);
  mine = await loadCredentials(vendor.credentials('ct-1'), systemClock);
  other = await loadCredentials(vendor.credentials('ct-2'), systemClock);
}, 120_000);
afterAll(() => rm(folder, { recursive: true, force: true }));

let count = 0;
let sent: Statement[];
let words: string[];
let outbox: Outbox;
let numbers: Map<string, number>;
let close: () => Promise<void>;
let at: string;
const make = async (more: Partial<StatementsOptions> = {}): Promise<Statements> => {
  const state = await openState(at);
  close = () => state.close();
  outbox = await Outbox.open(state);
  return new Statements({
    device,
    credentials: mine,
    counter: new Counter(new MemoryRows(numbers)),
    outbox,
    kept: await KeptHead.open(at, log),
    clock: systemClock,
    log,
    agentVersion: '0.1.0',
    inventory: async () => [{ application: 'viewer', version: '1.0.0', manifestHash: 'a'.repeat(64) }],
    send: (signed) => {
      const { identity, payload } = open(Signed.parse(JSON.parse(signed.toString())), mine.rootPem, { now: Date.now() });
      expect(identity).toEqual(device);
      words.push(payload.toString());
      sent.push(Statement.parse(JSON.parse(payload.toString())));
    },
    ...more,
  });
};
let statements: Statements;
/** The provider's log. */
let notary: TestNotary;
let log: RecordingLog;
beforeEach(async () => {
  at = join(folder, `state-${count++}`);
  sent = [];
  words = [];
  notary = new TestNotary(vendor.provider);
  log = new RecordingLog();
  numbers = new Map();
  statements = await make();
  return () => close();
});

const receiptFor = (statement: Statement, more: Partial<Receipt> = {}, signer: Credentials = vendor.provider): Buffer => {
  const receipt: Receipt = {
    type: 'receipt',
    customer: 'acme',
    site: 'north',
    group: 'ct',
    device: 'ct-1',
    counter: statement.counter,
    digest: sha256(Buffer.from(JSON.stringify(statement))),
    outcome: 'recorded',
    highest: statement.counter,
    at: new Date().toISOString(),
    ...more,
  };
  return Buffer.from(JSON.stringify(notary.receipts([receipt], { signer, knows: statement.head })));
};

const withHead = (message: Buffer, more: Partial<Signed>): Receipts => {
  const receipts = Receipts.parse(JSON.parse(message.toString()));
  return { ...receipts, head: { ...receipts.head, ...more } };
};

describe('statements', () => {
  it('are signed by the device, counted upwards, and wait until their receipt comes', async () => {
    const first = await statements.compose(outcome);
    await statements.report(first);
    await statements.stateInventory();
    expect(sent.map((s) => [s.type, s.counter])).toEqual([
      ['confirmation', 1],
      ['inventory', 2],
    ]);
    expect(statements.waiting).toBe(2);
    expect(await statements.receive(receiptFor(first))).toBe(false);
    expect(statements.waiting).toBe(1);
    await statements.resend();
    expect(sent.at(-1)).toMatchObject({ type: 'inventory', counter: 2 });
  });

  it('said twice are one: the second report of the same confirmation adds nothing', async () => {
    const first = await statements.compose(outcome);
    await statements.report(first);
    await statements.report(first);
    expect(statements.waiting).toBe(1);
    expect(sent[0]).toEqual(sent[1]);
  });

  it('are the same bytes when the journal, which reads them back in an order of its own, has them said again after a kill', async () => {
    const { result, running, ...more } = outcome;
    const fixed = await statements.compose({ ...more, running, result, reason: { code: 'HOOK_FAILED', message: 'unwell' } });
    await statements.report(fixed);
    expect(await statements.receive(receiptFor(fixed))).toBe(false);
    await statements.report(Confirmation.parse(JSON.parse(JSON.stringify(fixed))));
    expect(words[1]).toBe(words[0]);
  });

  it('survive the process, and so does the counter', async () => {
    await statements.report(await statements.compose(outcome));
    await close();
    statements = await make();
    sent = [];
    await statements.resend();
    expect(sent).toMatchObject([{ type: 'confirmation', counter: 1 }]);
    expect((await statements.compose(outcome)).counter).toBe(2);
  });

  it('are signed anew when the device was enrolled again: what an old certificate vouched for would be refused once that has expired', async () => {
    const first = await statements.compose(outcome);
    await statements.report(first);
    await close();
    const out = join(folder, 'ct-1-again');
    await issueDevice({ directory: join(vendor.directory, 'pki'), customer: 'acme', site: 'north', group: 'ct', device: 'ct-1', out });
    const again = await loadCredentials(out, systemClock);
    const chains: string[] = [];
    statements = await make({ credentials: again, send: (signed) => chains.push(Signed.parse(JSON.parse(signed.toString())).chain[0] ?? '') });
    await statements.resend();
    expect(chains).toEqual([again.chain[0]?.toString('base64')]);
    await statements.receive(receiptFor(first));
    expect(statements.waiting).toBe(0);
  });

  it('of another identity go when the device moved: nobody would take them from it, and it states anew what runs', async () => {
    await statements.report(await statements.compose(outcome));
    await close();
    statements = await make({ device: { ...device, group: 'pumps' } });
    sent = [];
    await statements.resend();
    expect(sent).toEqual([]);
    expect(statements.waiting).toBe(0);
  });

  it('of what runs replace each other: only the newest inventory waits', async () => {
    for (let i = 0; i < 3; i++) await statements.stateInventory();
    expect(statements.waiting).toBe(1);
    sent = [];
    await statements.resend();
    expect(sent).toMatchObject([{ counter: 3 }]);
  });

  it('keep their order when more than a page waits, with receipts coming in between', async () => {
    const all = await Promise.all(Array.from({ length: 300 }, () => statements.compose(outcome)));
    for (const one of all) await outbox.put(String(one.counter).padStart(16, '0'), Buffer.from(JSON.stringify(seal(Buffer.from(JSON.stringify(one)), mine))));
    await statements.resend();
    expect(sent.map((s) => s.counter)).toEqual(all.map((s) => s.counter));
    expect(new Set(sent.map((s) => s.counter)).size).toBe(300);
  });

  it('are counted on from where the provider is when it is ahead, and said anew once', async () => {
    const first = await statements.compose(outcome);
    await statements.report(first);
    const second = await statements.compose({ ...outcome, result: 'failed' });
    await statements.report(second);
    sent = [];
    const behind = receiptFor(first, { outcome: 'behind', highest: 41 });
    expect(await statements.receive(behind)).toBe(true);
    expect(sent).toEqual([{ ...first, counter: 42, head: notary.point }]);
    // Of the same backlog each is said anew when its own receipt says so.
    expect(await statements.receive(behind)).toBe(false);
    expect(await statements.receive(receiptFor(second, { outcome: 'behind', highest: 41 }))).toBe(true);
    expect(sent.at(-1)).toEqual({ ...second, counter: 43, head: notary.point });
    expect(statements.waiting).toBe(2);
    await statements.stateInventory();
    expect(sent.at(-1)).toMatchObject({ type: 'inventory', counter: 44 });
  });

  it('that wait for a lost receipt keep their number when the device hears that it is behind: on record already, they would count twice', async () => {
    const waiting = await statements.compose(outcome);
    await statements.report(waiting);
    await statements.stateInventory();
    const inventory = sent.at(-1);
    if (inventory === undefined) throw new Error('nothing was said');
    sent = [];
    expect(await statements.receive(receiptFor(inventory, { outcome: 'behind', highest: 41 }))).toBe(true);
    expect(sent).toEqual([]);
    await statements.stateInventory();
    await statements.resend();
    expect(sent).toMatchObject([{ type: 'inventory', counter: 42 }, waiting, { type: 'inventory', counter: 42 }]);
    await statements.receive(receiptFor(waiting, { highest: 42 }));
    expect(statements.waiting).toBe(1);
  });

  it('are counted on from the record when the restored device counted into a gap of it, where nobody could tell it that it is behind', async () => {
    await statements.stateInventory();
    const [inventory] = sent;
    if (inventory === undefined) throw new Error('nothing was said');
    const waiting = await statements.compose(outcome);
    await statements.report(waiting);
    expect(await statements.receive(receiptFor(inventory, { highest: 41 }))).toBe(true);
    expect(sent.at(-1)).toEqual(waiting);
    await statements.stateInventory();
    expect(sent.at(-1)).toMatchObject({ type: 'inventory', counter: 42 });
    // What the device has counted itself is no news.
    expect(await statements.receive(receiptFor(waiting, { highest: 42 }))).toBe(false);
  });

  it('that the provider refuses are not said again', async () => {
    const first = await statements.compose(outcome);
    await statements.report(first);
    await statements.receive(receiptFor(first, { outcome: 'refused', reason: 'no such device' }));
    expect(statements.waiting).toBe(0);
  });

  it('are not dropped by a receipt that proves nothing', async () => {
    const first = await statements.compose(outcome);
    await statements.report(first);
    const forged = [
      receiptFor(first, {}, mine),
      receiptFor(first, {}, other),
      receiptFor(first, { digest: 'b'.repeat(64) }),
      receiptFor(first, { device: 'ct-2' }),
      receiptFor(first, { counter: 99 }),
      Buffer.from('no json'),
      Buffer.from('{}'),
      Buffer.from(JSON.stringify(withHead(receiptFor(first), { signature: Buffer.alloc(256).toString('base64') }))),
    ];
    for (const receipt of forged) expect(await statements.receive(receipt)).toBe(false);
    expect(statements.waiting).toBe(1);
  });

  it('are answered only by a provider: a receipt signed by a device is refused by name', () => {
    const statement = {
      ...outcome,
      type: 'confirmation',
      customer: 'acme',
      site: 'north',
      group: 'ct',
      device: 'ct-1',
      counter: 1,
      at: new Date().toISOString(),
    } as const;
    expect(() => openReceipt(receiptFor(statement, {}, other), device, mine.rootPem, { now: Date.now() })).toThrow(/signed by a device/);
    const stranger = receiptFor(statement, { device: 'ct-2' });
    expect(() => openReceipt(stranger, device, mine.rootPem, { now: Date.now() })).toSatisfy((check: () => unknown) => {
      try {
        check();
        return false;
      } catch (error) {
        return isWardcastError(error, 'STATEMENT_INVALID');
      }
    });
  });
});

describe('the counter', () => {
  it('never gives a number twice, also when many ask at once', async () => {
    const counter = new Counter(new MemoryRows<number>());
    const got = await Promise.all(Array.from({ length: 50 }, () => counter.next()));
    expect(got).toEqual(Array.from({ length: 50 }, (_, i) => i + 1));
  });

  it('jumps ahead and never back', async () => {
    const counter = new Counter(new MemoryRows<number>());
    await counter.jumpPast(10);
    expect(await counter.next()).toBe(11);
    await counter.jumpPast(5);
    expect(await counter.next()).toBe(12);
  });
});

describe('the head of the log that a device keeps', () => {
  const newest = (): Statement => {
    const last = sent.at(-1);
    if (last === undefined) throw new Error('nothing was said');
    return last;
  };
  const confirm = async (): Promise<boolean> => statements.receive(receiptFor(newest()));
  const events = (): string[] => log.lines.filter(({ level }) => level === 'error').map(({ event }) => event);

  it('is named in every statement, grows with proof, and outlives a restart', async () => {
    await statements.stateInventory();
    expect(newest()).not.toHaveProperty('head');
    expect(await confirm()).toBe(false);
    const first = notary.point;
    await statements.report(await statements.compose(outcome));
    expect(newest()).toMatchObject({ head: first });
    expect(await confirm()).toBe(false);
    expect(notary.point.size).toBeGreaterThan(first.size);
    await close();
    statements = await make();
    await statements.stateInventory();
    expect(newest()).toMatchObject({ head: notary.point });
    expect(events()).toEqual([]);
  });

  it('is not given up for one that does not go on from it, until the contradiction is on that log', async () => {
    for (let at = 0; at < 3; at++) {
      await statements.stateInventory();
      await confirm();
    }
    const old = notary.point;
    const evidence = await readFile(join(at, 'log-head.json'));
    notary = notary.forked(1);
    await statements.stateInventory();
    // Not recorded: nothing testifies there, so the old one stays.
    expect(await statements.receive(receiptFor(newest(), { outcome: 'refused', reason: 'DENIED: no' }))).toBe(false);
    expect(events()).toContain('log.rewritten');
    await statements.stateInventory();
    expect(newest()).toMatchObject({ head: old });
    // Recorded: the statement that names the old one is on the log that does not have it. What runs is said anew, and life goes on.
    expect(await confirm()).toBe(true);
    expect(await readFile(join(at, `log-head-contradicted-${old.size}-${old.root.slice(0, 16)}.json`))).toEqual(evidence);
    await statements.stateInventory();
    expect(newest()).toMatchObject({ head: notary.point });
    expect(await confirm()).toBe(false);
  });

  it('is not taken from a receipt whose statement named another', async () => {
    await statements.stateInventory();
    await confirm();
    await statements.report(await statements.compose(outcome));
    const early = newest();
    await statements.report(await statements.compose(outcome));
    await confirm();
    const kept = notary.point;
    notary = notary.forked(1);
    expect(await statements.receive(receiptFor(early))).toBe(false);
    await statements.stateInventory();
    expect(newest()).toMatchObject({ head: kept });
  });

  it('that cannot be read is none, and keeps nobody from speaking', async () => {
    await writeFile(join(at, 'log-head.json'), '{');
    await close();
    statements = await make();
    await statements.stateInventory();
    expect(newest()).not.toHaveProperty('head');
    expect(await confirm()).toBe(false);
    await statements.stateInventory();
    expect(newest()).toMatchObject({ head: notary.point });
  });
});
