import { join } from 'node:path';
import { expect, it } from 'vitest';
import { Forwarder } from '../../../gateway/outbox/forwarder.ts';
import { outdated, statementKey } from '../../../gateway/outbox/statements.ts';
import { systemClock } from '../../../shared/base/clock.ts';
import { WardcastError } from '../../../shared/base/errors.ts';
import { silentLog } from '../../../shared/base/log.ts';
import { Outbox } from '../../../shared/store/outbox.ts';
import { openState } from '../../../shared/store/state.ts';
import { DAY, type Papers, Workshop } from '../../support/bad-certificates.ts';
import { credentialsOf, DEVICE_A } from '../../support/broker-rig.ts';
import { statementOf } from '../../support/gateway-site.ts';
import { temporaryDirectory } from '../../support/temporary-directory.ts';

interface Bench {
  readonly forwarder: Forwarder;
  readonly sent: string[];
  fail: boolean;
}

async function bench(isOutdated: (stored: Buffer) => boolean = () => false): Promise<Bench> {
  const state = await openState(join(await temporaryDirectory(), 'state'));
  const made: Bench = {
    sent: [],
    fail: false,
    forwarder: new Forwarder({
      outbox: await Outbox.open(state),
      send: async (bytes) => {
        await new Promise((resolve) => setImmediate(resolve));
        if (made.fail) throw new WardcastError('CONNECTION_LOST', 'cut');
        made.sent.push(bytes.toString());
      },
      outdated: isOutdated,
      clock: systemClock,
      log: silentLog,
    }),
  };
  return made;
}

const settle = (): Promise<void> => new Promise((resolve) => setTimeout(resolve, 50));
const numbers = (count: number): string[] => Array.from({ length: count }, (_, i) => String(i));

it('keeps statements while the line is down and sends them in order when it is up', async () => {
  const { forwarder, sent } = await bench();
  for (const n of numbers(600)) void forwarder.put(n, Buffer.from(n));
  await forwarder.put('last', Buffer.from('last'));
  expect(sent).toEqual([]);
  forwarder.lineUp();
  await expect.poll(() => sent.length).toBe(601);
  expect(sent).toEqual([...numbers(600), 'last']);
  await forwarder.close();
});

it('sends each once on a living line, also when receipts come while more is sent', async () => {
  const { forwarder, sent } = await bench();
  forwarder.lineUp();
  for (const n of numbers(20)) {
    await forwarder.put(n, Buffer.from(n));
    await settle();
    await forwarder.received(n);
  }
  expect(sent).toEqual(numbers(20));
  expect(forwarder.waiting).toBe(0);
  await forwarder.close();
});

it('sends again at the next connect what has no receipt, and only that', async () => {
  const { forwarder, sent } = await bench();
  forwarder.lineUp();
  for (const n of numbers(5)) await forwarder.put(n, Buffer.from(n));
  await expect.poll(() => sent.length).toBe(5);
  await forwarder.received('1');
  forwarder.lineDown();
  sent.length = 0;
  forwarder.lineUp();
  await expect.poll(() => sent.length).toBe(4);
  expect(sent).toEqual(['0', '2', '3', '4']);
  await forwarder.close();
});

it('loses nothing when the line breaks in the middle of sending', async () => {
  const made = await bench();
  made.fail = true;
  made.forwarder.lineUp();
  for (const n of numbers(5)) await made.forwarder.put(n, Buffer.from(n));
  await settle();
  made.forwarder.lineDown();
  made.fail = false;
  made.forwarder.lineUp();
  await expect.poll(() => made.sent.length).toBe(5);
  expect(made.sent).toEqual(numbers(5));
  await made.forwarder.close();
});

it('takes the words signed anew for those whose certificate has expired meanwhile, and for no others', async () => {
  const workshop = await Workshop.open();
  const { rootPem } = workshop.leaf(DEVICE_A);
  const old = workshop.leaf(DEVICE_A, { notAfter: new Date(workshop.now + DAY) });
  let now = workshop.now;
  const says = (papers: Papers): Buffer => statementOf(credentialsOf(papers, DEVICE_A), 1, new Date(workshop.now)).bytes;
  const { forwarder, sent } = await bench((stored) => outdated(stored, { rootPem, now }));
  const first = says(old);
  const second = says(workshop.leaf(DEVICE_A));
  const key = statementKey(first, DEVICE_A, { rootPem, now });
  expect(statementKey(second, DEVICE_A, { rootPem, now })).toBe(key);
  await forwarder.put(key, first);
  await forwarder.put(key, second);
  forwarder.lineUp();
  await expect.poll(() => sent).toEqual([first.toString()]);
  now += 2 * DAY;
  await forwarder.put(key, second);
  await expect.poll(() => sent).toEqual([first.toString(), second.toString()]);
  expect(forwarder.waiting).toBe(1);
  await forwarder.close();
});
