import { join } from 'node:path';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { type Credentials, loadCredentials } from '../../../certs/credentials.ts';
import { seal } from '../../../certs/envelope.ts';
import { issueDevice } from '../../../certs/pki-directory.ts';
import type { StoredRepository } from '../../../provider/deliver/repositories.ts';
import { LogRegistry } from '../../../provider/registry/log-registry.ts';
import { MemoryTable } from '../../../provider/registry/memory-table.ts';
import { KeyDesk } from '../../../provider/secrecy/key-desk.ts';
import { KeyVault } from '../../../provider/secrecy/vault.ts';
import { systemClock } from '../../../shared/base/clock.ts';
import type { GatewayIdentity } from '../../../shared/base/identity.ts';
import { groupKeyCommitment } from '../../../shared/bundle/group-key.ts';
import { newEphemeral, openGroupKeys } from '../../../shared/wire/group-key-answer.ts';
import type { KeyAnswers, KeyQuestion, SignedKeyQuestion } from '../../../shared/wire/messages.ts';
import { RecordingLog } from '../../support/recording-log.ts';
import { temporaryDirectory } from '../../support/temporary-directory.ts';
import { Vendor } from '../provider-rig.ts';

const SCOPE = { customer: 'acme', site: 'north', group: 'ct' };
const CT_1 = { role: 'device', ...SCOPE, device: 'ct-1' } as const;
const GATEWAY: GatewayIdentity = { role: 'gateway', customer: 'acme', site: 'north', gateway: 'gw-1' };
const own = newEphemeral();
const question: KeyQuestion = { type: 'key-question', ...SCOPE, device: 'ct-1', publicKey: own.publicKey };

let vendor: Vendor;
let ct1: Credentials;
let pump: Credentials;
let stranger: Credentials;
beforeAll(async () => {
  vendor = await Vendor.found();
  ct1 = vendor.credentials('ct-1');
  const other = await Vendor.found();
  stranger = other.credentials('ct-1');
  await other.close();
  const out = join(vendor.directory, 'credentials', 'pump-1');
  await issueDevice({ directory: join(vendor.directory, 'pki'), out, ...SCOPE, group: 'pumps', device: 'pump-1' });
  pump = await loadCredentials(out, systemClock);
});
afterAll(() => vendor.close());

let registry: LogRegistry;
let vault: KeyVault;
let desk: KeyDesk;
let log: RecordingLog;
/** Epochs of the bundles that are served to group ct, newest first. */
let served: readonly (number | undefined)[];
beforeEach(async () => {
  log = new RecordingLog();
  registry = new LogRegistry(new MemoryTable(), { clock: systemClock, log });
  vault = await KeyVault.open(await temporaryDirectory());
  served = [1];
  await vault.makeGroupKey(SCOPE, 1);
  await vault.makeGroupKey({ ...SCOPE, group: 'pumps' }, 1);
  const repositories = { get: async (scope: { group: string }) => (scope.group === 'ct' ? repository() : undefined) };
  desk = new KeyDesk({ credentials: vendor.credentials('provider'), registry, repositories, vault, clock: systemClock, log });
  for (const change of [
    { type: 'customer-added', customer: 'acme' },
    { type: 'site-added', customer: 'acme', site: 'north' },
    { type: 'group-added', customer: 'acme', group: 'ct' },
    { type: 'group-added', customer: 'acme', group: 'pumps' },
    { type: 'device-added', ...SCOPE, device: 'ct-1' },
    { type: 'device-added', ...SCOPE, group: 'pumps', device: 'pump-1' },
  ] as const)
    await registry.transact('test', () => ({ result: undefined, change }));
});

function repository(): StoredRepository {
  const generations = served.map((epoch, at) => ({ sequence: 9 - at, bundle: '', files: {}, manifests: [], ...(epoch === undefined ? {} : { epoch }) }));
  const versions = { meta: {}, assignment: 1, snapshot: { version: 1, length: 1, sha256: '0'.repeat(64) }, timestamp: 1 };
  return { ...SCOPE, sequence: 9, versions, expires: { assignment: 0, snapshot: 0, timestamp: 0 }, generations };
}
const signed = (asked: object = question, by = ct1): SignedKeyQuestion => seal(Buffer.from(JSON.stringify(asked)), by);
const ask = (...questions: SignedKeyQuestion[]): Promise<KeyAnswers> => desk.answer(GATEWAY, { questions });
const epochsIn = ({ answers }: KeyAnswers): number[] => answers.flatMap(({ answer }) => openGroupKeys(answer, CT_1, own).keys.map(({ epoch }) => epoch));

describe('the key desk', () => {
  it('answers a registered device with the keys of the bundles that are served, readable with the key of its question alone', async () => {
    const { commitment } = await vault.makeGroupKey(SCOPE, 2);
    served = [2, 1, 2, undefined];
    const told = await ask(signed());
    expect(told.answers).toMatchObject([{ group: 'ct', device: 'ct-1', answer: { question: own.publicKey } }]);
    expect(epochsIn(told)).toEqual([2, 1]);
    const [first] = told.answers;
    if (first === undefined) throw new Error('no answer');
    const [newest] = openGroupKeys(first.answer, CT_1, own).keys;
    expect(groupKeyCommitment(Buffer.from(newest?.key ?? '', 'base64'))).toBe(commitment);
    expect(() => openGroupKeys(first.answer, CT_1, newEphemeral())).toThrow(expect.objectContaining({ code: 'SIGNATURE_INVALID' }));
    expect(() => openGroupKeys(first.answer, { ...CT_1, device: 'ct-2' }, own)).toThrow(expect.objectContaining({ code: 'SIGNATURE_INVALID' }));
    // What it gives away it gives no log.
    expect(JSON.stringify(log.lines)).not.toContain(newest?.key);
  });

  it.each<[string, () => Promise<unknown>, (() => SignedKeyQuestion)?]>([
    ['a device that is not registered', () => change({ type: 'device-removed', customer: 'acme', device: 'ct-1' })],
    [
      'a device that was registered elsewhere meanwhile',
      () => change({ type: 'device-moved', customer: 'acme', device: 'ct-1', site: 'north', group: 'pumps' }),
    ],
    ['a revoked device', () => change({ type: 'device-revoked', ...SCOPE, device: 'ct-1', until: '2099-01-01T00:00:00Z', reason: 'stolen' })],
    ['a device with a certificate of a retired CA', () => change({ type: 'ca-retired', customer: 'acme', group: 'ct', oldest: 2, reason: 'leaked' })],
    ['a device of a customer that left', () => change({ type: 'customer-retired', customer: 'acme', reason: 'left' })],
    ['a device of another group', nothing, () => signed(question, pump)],
    ['a device of another group in its own name', nothing, () => signed({ ...question, group: 'pumps', device: 'pump-1' }, pump)],
    ['a device of another group for this one', nothing, () => signed({ ...question, device: 'pump-1' }, pump)],
    ['a gateway', nothing, () => signed(question, vendor.credentials('gateway'))],
    ['the same name under another root', nothing, () => signed(question, stranger)],
    ['a signature of other words', nothing, () => ({ ...signed(), payload: Buffer.from(JSON.stringify({ ...question, extra: 1 })).toString('base64') })],
    ['a key of small order', nothing, () => signed({ ...question, publicKey: Buffer.alloc(32).toString('base64') })],
    ['noise', nothing, () => signed({})],
  ])('answers nobody else, with one silence: %s', async (_who, before, made = signed) => {
    await before();
    expect(await ask(made())).toEqual({ answers: [] });
  });

  it('answers nobody through a gateway of another site', async () => {
    expect(epochsIn(await ask(signed()))).toEqual([1]);
    expect(await desk.answer({ ...GATEWAY, site: 'south' }, { questions: [signed()] })).toEqual({ answers: [] });
  });

  it('answers those who are entitled although others in the same message are not', async () => {
    expect((await ask(signed(question, stranger), signed(), signed({}))).answers.map(({ device }) => device)).toEqual(['ct-1']);
  });

  it('takes one message of a gateway at a time', async () => {
    const first = ask(signed());
    await expect(ask(signed())).rejects.toMatchObject({ code: 'LIMIT_EXCEEDED' });
    expect(epochsIn(await first)).toEqual([1]);
    expect(epochsIn(await ask(signed()))).toEqual([1]);
  });
});

async function nothing(): Promise<void> {
  // As it is.
}

function change(wanted: Parameters<LogRegistry['transact']>[1] extends (read: never) => { change?: infer C } ? C : never): Promise<unknown> {
  return registry.transact('test', () => ({ result: undefined, change: wanted }));
}
