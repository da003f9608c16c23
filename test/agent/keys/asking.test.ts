import { readFile, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it, onTestFinished } from 'vitest';
import { KeyAsking } from '../../../agent/keys/asking.ts';
import { Keyring } from '../../../agent/keys/keyring.ts';
import type { Credentials } from '../../../certs/credentials.ts';
import { open } from '../../../certs/envelope.ts';
import { KEY_ASK_MAX, KEY_ASK_MIN } from '../../../shared/base/limits.ts';
import type { GroupKeyRef } from '../../../shared/bundle/bundle.ts';
import { contentKeyId, newContentKey } from '../../../shared/bundle/content-key.ts';
import { groupKeyCommitment, newGroupKey, wrapContentKey } from '../../../shared/bundle/group-key.ts';
import { newEphemeral, sealGroupKeys } from '../../../shared/wire/group-key-answer.ts';
import { KeyQuestion, type SignedKeyQuestion } from '../../../shared/wire/messages.ts';
import { createTestPki, deviceOf, type TestPki } from '../../support/gateway-site.ts';
import { ManualClock } from '../../support/manual-clock.ts';
import { RecordingLog } from '../../support/recording-log.ts';
import { temporaryDirectory } from '../../support/temporary-directory.ts';

let pki: TestPki;
let credentials: Credentials;
beforeAll(async () => {
  pki = await createTestPki();
  credentials = await pki.device('ct-1');
});
afterAll(() => pki.remove());

const first = newGroupKey();
const second = newGroupKey();
const ref = (epoch: number, key: Buffer): GroupKeyRef => ({ epoch, commitment: groupKeyCommitment(key) });

async function bench(): Promise<{
  asking: KeyAsking;
  keyring: Keyring;
  clock: ManualClock;
  log: RecordingLog;
  sent: SignedKeyQuestion[];
  directory: string;
  state: { wanted: GroupKeyRef | undefined; keys: number };
  /** The question last sent, as the provider reads it. */
  asked(): KeyQuestion;
  answer(...keys: readonly [number, Buffer][]): Promise<void>;
}> {
  const directory = await temporaryDirectory();
  const clock = new ManualClock();
  const log = new RecordingLog();
  const device = deviceOf(credentials);
  const keyring = await Keyring.open({ directory, scope: device, log });
  const sent: SignedKeyQuestion[] = [];
  const state: { wanted: GroupKeyRef | undefined; keys: number } = { wanted: ref(1, first), keys: 0 };
  const stop = new AbortController();
  const asking = new KeyAsking({
    device,
    credentials,
    keyring,
    wanted: () => state.wanted,
    send: (question) => void sent.push(question),
    onKey: () => void state.keys++,
    clock,
    log,
    random: () => 1,
    signal: stop.signal,
  });
  onTestFinished(() => {
    stop.abort();
    return asking.idle();
  });
  const asked = (): KeyQuestion => {
    const signed = sent.at(-1);
    if (signed === undefined) throw new Error('nothing was asked');
    return KeyQuestion.parse(JSON.parse(open(signed, credentials.rootPem, { now: Date.now() }).payload.toString('utf8')));
  };
  const answer = (...keys: readonly [number, Buffer][]): Promise<void> =>
    asking.answered(
      Buffer.from(JSON.stringify(sealGroupKeys({ keys: keys.map(([epoch, key]) => ({ epoch, key: key.toString('base64') })) }, device, asked().publicKey))),
    );
  return { asking, keyring, clock, log, sent, directory, state, asked, answer };
}

it('asks for the key that the bundle names, and keeps it where its owner alone reads it', async () => {
  const { asking, keyring, log, asked, answer, directory, state } = await bench();
  asking.look();
  await log.seen('key.asked');
  expect(asked()).toMatchObject({ customer: 'acme', site: 'north', group: 'ct', device: 'ct-1' });
  await answer([2, second], [1, first]);
  expect(keyring.has(ref(1, first))).toBe(true);
  expect(state.keys).toBe(1);
  await asking.idle();
  const file = join(directory, 'group-key.json');
  expect((await stat(file)).mode & 0o777).toBe(0o600);

  // After a restart it is there; in another group it is gone for good.
  const scope = { customer: 'acme', site: 'north', group: 'ct' };
  expect((await Keyring.open({ directory, scope, log })).has(ref(1, first))).toBe(true);
  expect((await Keyring.open({ directory, scope: { ...scope, group: 'pump' }, log })).has(ref(1, first))).toBe(false);
  await expect(readFile(file)).rejects.toMatchObject({ code: 'ENOENT' });
  await writeFile(file, '{"format":1,');
  expect((await Keyring.open({ directory, scope, log })).has(ref(1, first))).toBe(false);
});

it('takes no key but the one that the signed bundle names, whoever answers', async () => {
  const { asking, keyring, log, asked, answer, state } = await bench();
  asking.look();
  await log.seen('key.asked');
  const refusals = (): unknown[] => log.all('key.answer-refused');
  await answer([1, second]);
  expect(refusals()).toHaveLength(1);
  // To another question, to another device, altered, and none.
  const device = deviceOf(credentials);
  const right = { keys: [{ epoch: 1, key: first.toString('base64') }] };
  const genuine = sealGroupKeys(right, device, asked().publicKey);
  const flipped = Buffer.from(genuine.sealed, 'base64').map((byte, at) => (at === 3 ? byte ^ 1 : byte));
  for (const wrong of [
    sealGroupKeys(right, device, newEphemeral().publicKey),
    sealGroupKeys(right, { ...device, device: 'ct-2' }, asked().publicKey),
    { ...genuine, sealed: Buffer.from(flipped).toString('base64') },
    { ...genuine, sealed: '' },
    { ...genuine, publicKey: Buffer.alloc(32).toString('base64') },
    {},
  ])
    await asking.answered(Buffer.from(JSON.stringify(wrong)));
  expect(refusals()).toHaveLength(7);
  await answer([2, second]);
  expect(log.all('key.other-epoch')).toHaveLength(1);
  expect(keyring.has(ref(1, first)) || keyring.has(ref(1, second))).toBe(false);
  expect(state.keys).toBe(0);
  // None of them did any harm: the right one is still taken.
  await asking.answered(Buffer.from(JSON.stringify(genuine)));
  expect(keyring.has(ref(1, first))).toBe(true);
  expect(JSON.stringify(log.lines)).not.toContain(first.toString('base64'));
});

it('asks ever more rarely while nobody answers, with the same question, and at once for a new bundle or connection', async () => {
  const { asking, clock, log, sent, asked, answer, state } = await bench();
  const until = async (questions: number): Promise<void> => {
    while (log.all('key.asked').length < questions) await new Promise<void>((again) => setImmediate(again));
  };
  asking.look();
  await until(1);
  const publicKey = asked().publicKey;
  while (log.all('key.asked').length < 12) {
    await clock.advance(KEY_ASK_MAX);
    // The next question is signed beside the event loop.
    while (clock.sleeping === 0) await new Promise<void>((again) => setImmediate(again));
  }
  const waits = log.all('key.asked').map((line) => line['wait']);
  expect(waits.slice(0, 3)).toEqual([KEY_ASK_MIN, 2 * KEY_ASK_MIN, 4 * KEY_ASK_MIN]);
  expect(waits.at(-1)).toBe(KEY_ASK_MAX);
  expect(asked().publicKey).toBe(publicKey);
  const known = waits.length;
  asking.look();
  await until(known + 1);
  expect(log.all('key.asked').at(-1)).toMatchObject({ wait: KEY_ASK_MIN });
  await answer([1, first]);
  await asking.idle();
  const before = sent.length;
  asking.look();
  expect(sent).toHaveLength(before);
  state.wanted = ref(2, second);
  asking.look();
  await until(known + 2);
  expect(asked().publicKey).not.toBe(publicKey);
  state.wanted = undefined;
  await clock.advance(KEY_ASK_MAX);
  await asking.idle();
  expect(sent).toHaveLength(before + 1);
});

it('opens the content keys of the release that is asked about, when the bundle’s key is there', async () => {
  const { keyring, log } = await bench();
  const contentKey = newContentKey();
  const manifest = 'ab'.repeat(32);
  const release = { application: 'viewer', version: '1.0.0', manifest, size: 1, allowDowngrade: false, keys: [wrapContentKey(contentKey, first)] };
  const bundle = { format: 1 as const, customer: 'acme', site: 'north', group: 'ct', sequence: 1, releases: [release], withdrawn: [], groupKey: ref(1, first) };
  expect(keyring.contentKeys(bundle, manifest).size).toBe(0);
  await keyring.keep(ref(1, first), first);
  expect([...keyring.contentKeys(bundle, manifest)]).toEqual([[contentKeyId(contentKey), contentKey]]);
  expect(keyring.contentKeys(bundle, 'cd'.repeat(32)).size).toBe(0);
  expect(keyring.contentKeys({ ...bundle, groupKey: ref(2, second) }, manifest).size).toBe(0);
  // Wrapped under another key than the bundle names: said, and not opened.
  expect(keyring.contentKeys({ ...bundle, releases: [{ ...release, keys: [wrapContentKey(contentKey, second)] }] }, manifest).size).toBe(0);
  expect(log.all('key.bundle-unusable')).toHaveLength(1);
  await expect(keyring.keep(ref(2, second), first)).rejects.toMatchObject({ code: 'SIGNATURE_INVALID' });
});
