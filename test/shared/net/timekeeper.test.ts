import { randomBytes } from 'node:crypto';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { beforeAll, expect, test } from 'vitest';
import { type Credentials, loadTimelessCredentials } from '../../../certs/credentials.ts';
import { seal } from '../../../certs/envelope.ts';
import { TimeDesk } from '../../../provider/time-desk.ts';
import { CLOCK_LOOK, TIME_INTERVAL, TIME_RETRY, TIME_ROUND_TRIP, TIME_SAVE_INTERVAL } from '../../../shared/base/limits.ts';
import { Timekeeper } from '../../../shared/net/timekeeper.ts';
import { readTrustedTime } from '../../../shared/store/time-file.ts';
import type { TimeQuestion } from '../../../shared/wire/messages.ts';
import { timeTree } from '../../../shared/wire/time-tree.ts';
import { DAY, DEVICE, GATEWAY, PROVIDER, Workshop, writePapers } from '../../support/bad-certificates.ts';
import { CrookedClock } from '../../support/crooked-clock.ts';
import { RecordingLog } from '../../support/recording-log.ts';
import { temporaryDirectory } from '../../support/temporary-directory.ts';

let workshop: Workshop;
let device: Credentials;
let provider: Credentials;
let gateway: Credentials;
beforeAll(async () => {
  workshop = await Workshop.open();
  const folder = await mkdtemp(join(tmpdir(), 'wardcast-time-'));
  const load = async (identity: typeof DEVICE): Promise<Credentials> =>
    loadTimelessCredentials(await writePapers(join(folder, identity.role), workshop.leaf(identity)));
  [device, provider, gateway] = await Promise.all([load(DEVICE), load(PROVIDER), load(GATEWAY)]);
  await rm(folder, { recursive: true });
});

interface Bench {
  readonly clock: CrookedClock;
  readonly keeper: Timekeeper;
  readonly log: RecordingLog;
  readonly asked: TimeQuestion[];
  readonly directory: string;
  readonly stop: () => Promise<void>;
}

async function bench(o: { wall: number; truth?: number; directory?: string; credentials?: Credentials }): Promise<Bench> {
  const { truth = workshop.now } = o;
  const clock = new CrookedClock(truth, o.wall);
  const log = new RecordingLog();
  const directory = o.directory ?? (await temporaryDirectory());
  const keeper = await Timekeeper.open({ directory, credentials: o.credentials ?? device, clock, log });
  const asked: TimeQuestion[] = [];
  const end = new AbortController();
  const running = keeper.run(end.signal);
  const stop = (): Promise<void> => {
    end.abort();
    return running;
  };
  return { clock, keeper, log, asked, directory, stop };
}

/** As provider and gateway would answer; `at` in milliseconds. */
function answer(question: TimeQuestion | undefined, at: number, o: { by?: Credentials; type?: string; others?: number } = {}): Buffer {
  const { by = provider, type = 'time', others = 0 } = o;
  const nonces = [...Array.from({ length: others }, () => randomBytes(32).toString('hex')), question?.nonce ?? ''];
  const tree = timeTree(nonces);
  const signed = seal(Buffer.from(JSON.stringify({ type, nonce: tree.root, at: new Date(at).toISOString() })), by);
  return Buffer.from(JSON.stringify({ signed, index: others, path: tree.path(others) }));
}

const events = (log: RecordingLog): string[] => log.lines.map(({ event }) => event);

test.each([
  ['1970', 0],
  ['2099', Date.UTC(2099, 0, 1)],
])('a device in %s asks when it is connected, and knows the time from then on', async (_name, wall) => {
  const { clock, keeper, log, asked, stop } = await bench({ wall });
  expect(keeper.time.now()).toBe(device.begins.getTime());
  keeper.connected((question) => asked.push(question));
  expect(asked).toHaveLength(1);
  await clock.advance(700);
  keeper.answered(answer(asked[0], clock.truth - 300, { others: 5 }));
  expect(keeper.time.proven).toBe(true);
  expect(clock.truth - keeper.time.now()).toBe(300);
  expect(events(log).filter((event) => event === 'clock.wrong')).toHaveLength(1);
  await clock.advance(TIME_INTERVAL + CLOCK_LOOK);
  expect(asked).toHaveLength(2);
  await stop();
});

test('the real provider answers the very question', async () => {
  const { clock, keeper, asked, stop } = await bench({ wall: 0 });
  keeper.connected((question) => asked.push(question));
  const desk = new TimeDesk({ credentials: provider, clock: new CrookedClock(clock.truth) });
  const tree = timeTree([asked[0]?.nonce ?? '']);
  if (gateway.identity.role !== 'gateway') throw new Error('no gateway');
  const [signed, refused] = await Promise.allSettled([
    desk.answer(gateway.identity, { nonce: tree.root }),
    desk.answer(gateway.identity, { nonce: tree.root }),
  ]);
  expect(refused).toEqual(expect.objectContaining({ status: 'rejected', reason: expect.objectContaining({ code: 'LIMIT_EXCEEDED' }) }));
  if (signed.status !== 'fulfilled') throw signed.reason;
  keeper.answered(Buffer.from(JSON.stringify({ signed: signed.value, index: 0, path: [] })));
  expect(keeper.time.proven).toBe(true);
  await stop();
});

test('a replayed answer, one to another device, one signed by a gateway, one that is no time, and noise move nothing', async () => {
  const { clock, keeper, log, asked, stop } = await bench({ wall: 0 });
  keeper.connected((question) => asked.push(question));
  const first = asked[0];
  const old = answer(first, clock.truth);
  keeper.answered(old);
  await clock.advance(TIME_INTERVAL + CLOCK_LOOK);
  const [, second] = asked;
  const before = keeper.time.now();
  const lies = [
    old,
    answer({ nonce: randomBytes(32).toString('hex') }, clock.truth + DAY),
    answer(second, clock.truth + DAY, { by: gateway }),
    answer(second, clock.truth + DAY, { type: 'receipt' }),
    Buffer.from('noise'),
    Buffer.alloc(2_000_000, 0x20),
  ];
  for (const lie of lies) keeper.answered(lie);
  expect(keeper.time.now()).toBe(before);
  expect(events(log).filter((event) => event === 'time.answer-refused')).toHaveLength(lies.length);
  // The question is open still.
  keeper.answered(answer(second, clock.truth));
  expect(keeper.time.proven).toBe(true);
  await stop();
});

test('an answer that was held back shows a bound and proves no present', async () => {
  const { clock, keeper, asked, stop } = await bench({ wall: 0 });
  keeper.connected((question) => asked.push(question));
  const at = clock.truth;
  await clock.advance(TIME_ROUND_TRIP + 1);
  keeper.answered(answer(asked[0], at));
  expect(keeper.time.proven).toBe(false);
  expect(keeper.time.now()).toBe(at);
  await clock.advance(TIME_RETRY);
  expect(asked).toHaveLength(2);
  await stop();
});

test('a stolen provider key cannot speak of a time after its certificate, nor push a device beyond the end of its own', async () => {
  const { keeper, log, asked, stop } = await bench({ wall: 0 });
  keeper.connected((question) => asked.push(question));
  const before = keeper.time.now();
  keeper.answered(answer(asked[0], Date.UTC(2099, 0, 1)));
  expect(events(log)).toContain('time.answer-refused');
  expect(keeper.time.now()).toBe(before);
  await stop();
});

test('the bound outlives restarts, and a damaged record costs no start', async () => {
  const first = await bench({ wall: 0 });
  first.keeper.connected((question) => first.asked.push(question));
  first.keeper.answered(answer(first.asked[0], first.clock.truth));
  await first.clock.advance(2 * TIME_SAVE_INTERVAL);
  const known = first.keeper.time.now();
  await first.stop();

  const second = await bench({ wall: 0, truth: first.clock.truth + DAY, directory: first.directory });
  expect(second.keeper.time.now()).toBe(known);
  await second.stop();

  const record = join(first.directory, 'time.json');
  expect(JSON.parse(await readFile(record, 'utf8'))).toEqual({ format: 1, trusted: new Date(known).toISOString() });
  await writeFile(record, '{"format":1,"trust');
  const third = await bench({ wall: 0, directory: first.directory });
  expect(third.keeper.time.now()).toBe(device.begins.getTime());
  expect(events(third.log)).toContain('time.record-unusable');
  await third.stop();
});

test('a power cut costs an hour at most', async () => {
  const first = await bench({ wall: 0 });
  await first.clock.advance(10 * TIME_SAVE_INTERVAL);
  await first.clock.advance(TIME_SAVE_INTERVAL / 2);
  await expect.poll(() => readTrustedTime(first.directory, first.log)).toBeGreaterThan(first.keeper.time.now() - TIME_SAVE_INTERVAL);
  // Without a word: not stopped.
  const second = await bench({ wall: 0, directory: first.directory });
  expect(first.keeper.time.now() - second.keeper.time.now()).toBeLessThanOrEqual(TIME_SAVE_INTERVAL + CLOCK_LOOK);
  await first.stop();
  await second.stop();
});

test('a jump of the wall clock is told, and the time is asked for again at once', async () => {
  const { clock, keeper, log, asked, stop } = await bench({ wall: workshop.now });
  keeper.connected((question) => asked.push(question));
  keeper.answered(answer(asked[0], clock.truth));
  clock.set(Date.UTC(2099, 0, 1));
  await clock.advance(CLOCK_LOOK);
  expect(events(log)).toContain('clock.jumped');
  expect(asked).toHaveLength(2);
  keeper.answered(answer(asked[1], clock.truth));
  expect(keeper.time.now()).toBe(clock.truth);
  expect(events(log)).toContain('clock.wrong');
  clock.set(clock.truth);
  await clock.advance(CLOCK_LOOK);
  keeper.answered(answer(asked[2], clock.truth));
  expect(events(log)).toContain('clock.right');
  await stop();
});

test('a certificate that is over is told with what to do, and the daemon starts', async () => {
  const past = workshop.leaf(DEVICE, { notBefore: new Date(workshop.now - 3 * DAY), notAfter: new Date(workshop.now - 2 * DAY) });
  const credentials = await loadTimelessCredentials(await writePapers(join(await temporaryDirectory(), 'papers'), past));
  const directory = await temporaryDirectory();
  await writeFile(join(directory, 'time.json'), JSON.stringify({ format: 1, trusted: new Date(workshop.now).toISOString() }));
  const { keeper, log, stop } = await bench({ wall: workshop.now, credentials, directory });
  expect(keeper.time.now()).toBe(workshop.now);
  expect(log.lines).toContainEqual(expect.objectContaining({ event: 'certificate.expired', remedy: expect.stringContaining('wardcast pki') }));
  await stop();
});
