import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { open, seal } from '../../../certs/envelope.ts';
import { Checkers } from '../../../provider/record/checkers.ts';
import { type Recorded, Recorder } from '../../../provider/record/recorder.ts';
import { openLevelRegistry } from '../../../provider/registry/level-registry.ts';
import type { Registry } from '../../../provider/registry/registry.ts';
import { keys } from '../../../provider/registry/rows.ts';
import { systemClock } from '../../../shared/base/clock.ts';
import type { GatewayIdentity } from '../../../shared/base/identity.ts';
import { silentLog } from '../../../shared/base/log.ts';
import { openReceipts } from '../../../shared/net/receipts.ts';
import type { Signed, Statement } from '../../../shared/wire/messages.ts';
import { append, FOUNDED } from '../../contract/registry.contract.ts';
import { Vendor } from '../provider-rig.ts';
import { confirmation, inventory } from '../statements.ts';

const GATEWAY: GatewayIdentity = { role: 'gateway', customer: 'acme', site: 'north', gateway: 'gw-1' };
let vendor: Vendor;
let registry: Registry;
let recorder: Recorder;
let directory = '';

beforeAll(async () => {
  vendor = await Vendor.found();
});
afterAll(() => vendor.close());
beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'wardcast-recorder-'));
  registry = await openLevelRegistry(directory, { clock: systemClock, log: silentLog });
  await append(registry, ...FOUNDED);
  const o = { registry, credentials: () => vendor.credentials('provider'), clock: systemClock };
  recorder = new Recorder({ ...o, checkers: new Checkers({ ...o, log: silentLog, threads: 0 }) });
});
afterEach(async () => {
  await registry.close();
  await rm(directory, { recursive: true });
});

function signed(statement: Statement, by = 'ct-1'): Signed {
  return seal(Buffer.from(JSON.stringify(statement)), vendor.credentials(by));
}
function record(envelope: unknown, from = GATEWAY): Promise<Recorded> {
  return recorder.record(Buffer.from(JSON.stringify(envelope)), from);
}
function say(statement: Statement): Promise<Recorded> {
  return record(signed(statement));
}

describe('recording a statement', () => {
  test('puts it on the log, signed as it was, and the receipt names its entry', async () => {
    const statement = confirmation('ct-1', 3);
    const { receipt, sealed } = await say(statement);
    expect(receipt).toMatchObject({ outcome: 'recorded', counter: 3, highest: 3, entry: registry.head });
    const entry = await registry.entry(registry.head.sequence);
    if (entry?.change.type !== 'statement') throw new Error('not recorded');
    expect(entry.actor).toBe('customer/acme/site/north/group/ct/device/ct-1');
    const chain: string[] = JSON.parse(String(await registry.blob(entry.change.chain)));
    const proof = open({ payload: entry.change.payload, signature: entry.change.signature, chain }, vendor.credentials('provider').rootPem, {
      now: Date.now(),
    });
    expect(JSON.parse(proof.payload.toString())).toEqual(statement);
    const message = Buffer.from(JSON.stringify({ head: sealed.head, receipts: [sealed.proof] }));
    const opened = openReceipts(message, vendor.credentials('ct-1').rootPem, { now: Date.now() });
    expect(opened.receipts.map((one) => one.receipt)).toEqual([receipt]);
    expect(opened.head).toMatchObject({ size: registry.head.sequence, root: registry.tree.root(registry.head.sequence).toString('hex') });
  });

  test('said twice, it is receipted twice and logged once', async () => {
    const envelope = signed(confirmation('ct-1', 1));
    const first = await record(envelope);
    const { head } = registry;
    // RSA-PSS is salted: the same words signed anew are the same statement.
    for (const again of [envelope, signed(confirmation('ct-1', 1))]) {
      expect((await record(again)).receipt).toMatchObject({ outcome: 'recorded', entry: first.receipt.entry });
    }
    expect(registry.head).toEqual(head);
  });

  test('many at once, each in two copies: each logged once', async () => {
    const envelopes = Array.from({ length: 40 }, (_, index) => signed(confirmation('ct-1', index + 1)));
    const before = registry.head.sequence;
    const all = await Promise.all([...envelopes, ...envelopes].map((envelope) => record(envelope)));
    expect(all.every(({ receipt }) => receipt.outcome === 'recorded')).toBe(true);
    expect(registry.head.sequence).toBe(before + 40);
    expect(await registry.check()).toMatchObject({ differences: [] });
  });

  test('late and out of order, it becomes history and changes nothing that is newer', async () => {
    await say(inventory('ct-1', 9, { viewer: '2.0.0' }));
    expect((await say(confirmation('ct-1', 4, { version: '1.0.0' }))).receipt).toMatchObject({ outcome: 'recorded', counter: 4, highest: 9 });
    expect(await registry.get(keys.standing('acme', 'ct-1'))).toMatchObject({ counter: 9, running: [{ application: 'viewer', version: '2.0.0' }] });
    expect(await registry.get(keys.history('acme', 'ct-1', 4))).toMatchObject({ counter: 4 });
  });

  test('a device that lost its memory is told where to count on from', async () => {
    await say(inventory('ct-1', 7, { viewer: '1.0.0' }));
    await say(confirmation('ct-1', 1));
    const { head } = registry;
    expect((await say(inventory('ct-1', 1))).receipt).toMatchObject({ outcome: 'behind', highest: 7 });
    expect(registry.head).toEqual(head);
    expect((await say(inventory('ct-1', 8))).receipt).toMatchObject({ outcome: 'recorded', highest: 8 });
  });

  test('two different confirmations under one counter: the second is refused', async () => {
    await say(confirmation('ct-1', 1));
    const { verdict, receipt } = await say(confirmation('ct-1', 1, { result: 'failed', running: null }));
    expect(verdict).toMatchObject({ outcome: 'refused', code: 'COUNTER_CONFLICT' });
    expect(receipt).toMatchObject({ outcome: 'refused', highest: 1, reason: expect.stringContaining('COUNTER_CONFLICT') });
    expect(receipt.entry).toBeUndefined();
  });

  test('a device that is not registered, or elsewhere, is refused with a receipt', async () => {
    expect((await record(signed(confirmation('ct-2', 1), 'ct-2'))).receipt).toMatchObject({ outcome: 'refused', reason: expect.stringContaining('NOT_FOUND') });
    await append(registry, { type: 'device-moved', customer: 'acme', device: 'ct-1', site: 'north', group: 'pumps' });
    expect((await say(confirmation('ct-1', 1))).receipt).toMatchObject({ outcome: 'refused', reason: expect.stringContaining('DENIED') });
  });

  test('what was recorded before a device moved is receipted still', async () => {
    await say(confirmation('ct-1', 1));
    await append(registry, { type: 'device-removed', customer: 'acme', device: 'ct-1' });
    expect((await say(confirmation('ct-1', 1))).receipt).toMatchObject({ outcome: 'recorded' });
  });

  test("signed with another device's key it is forged, and no receipt is given", async () => {
    const { head } = registry;
    await expect(record(signed(confirmation('ct-1', 1), 'ct-2'))).rejects.toMatchObject({ code: 'STATEMENT_FORGED' });
    await expect(record(signed(confirmation('ct-1', 1), 'gateway'))).rejects.toMatchObject({ code: 'STATEMENT_FORGED' });
    await expect(record(signed(confirmation('ct-1', 1, { group: 'pumps' })))).rejects.toMatchObject({ code: 'STATEMENT_FORGED' });
    expect(registry.head).toEqual(head);
  });

  test('altered, with a borrowed signature or chain, it is refused', async () => {
    const mine = signed(confirmation('ct-1', 1));
    const payload = Buffer.from(JSON.stringify(confirmation('ct-1', 2))).toString('base64');
    await expect(record({ ...mine, payload })).rejects.toMatchObject({ code: 'SIGNATURE_INVALID' });
    await expect(record({ ...mine, chain: signed(confirmation('ct-2', 1), 'ct-2').chain })).rejects.toMatchObject({ code: 'SIGNATURE_INVALID' });
    await expect(record({ ...mine, chain: mine.chain.slice(0, 1) })).rejects.toMatchObject({ code: expect.stringMatching(/^CERT_/) });
    await expect(record({ ...mine, extra: 1 })).rejects.toMatchObject({ code: 'STATEMENT_INVALID' });
    await expect(record(seal(Buffer.from('{"type":"confirmation"}'), vendor.credentials('ct-1')))).rejects.toMatchObject({ code: 'STATEMENT_INVALID' });
    await expect(record(seal(Buffer.from('no json'), vendor.credentials('ct-1')))).rejects.toMatchObject({ code: 'STATEMENT_INVALID' });
  });

  test('a gateway of another site may not pass it on', async () => {
    await expect(record(signed(confirmation('ct-1', 1)), { ...GATEWAY, site: 'south' })).rejects.toMatchObject({ code: 'DENIED' });
  });
});
