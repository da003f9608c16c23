import fc from 'fast-check';
import { type Identity, identityPath } from '../../../shared/base/identity.ts';
import { OPS_ACTIONS } from '../../../shared/wire/ops.ts';
import { down, ROOT, UP_VERBS } from '../../../shared/wire/topics.ts';
import { mutatedJson, noise, strangeJson } from '../mutation.ts';
import { connectPacket, packet } from './mqtt.ts';

/** A client that keeps to MQTT and to its own topics, and says there what nobody expects: the handlers behind the broker. */

const HASH = 'ab'.repeat(32);
const INSTANCE = '00000000-0000-4000-8000-000000000000';
const AT = '2026-01-01T00:00:00.000Z';
const SOURCES = { line: 1, gateway: 2, peer: 3, own: 4 };
const WHO = { customer: 'acme', site: 'north', group: 'ct', device: 'ct-9' };

const json = (value: unknown): Buffer => Buffer.from(JSON.stringify(value));
const REPORTS: readonly Buffer[] = [
  { version: '1.0.0', groups: [{ group: 'ct', sequence: 1 }] },
  { version: '1.0.0', instance: INSTANCE, port: 4711 },
  { group: 'ct', kind: 'metadata', names: ['timestamp.json', '1.root.json'] },
  { group: 'ct', kind: 'target', names: [HASH] },
  { group: 'ct', kind: 'chunk', names: [HASH] },
  { payload: Buffer.from('{}').toString('base64'), signature: 'AAAA', chain: ['AAAA'] },
  { group: 'ct', device: 'ct-9', application: 'viewer', version: '1.0.0', sequence: 1, phase: 'fetching', total: 100, done: 50, sources: SOURCES },
  {
    devices: [{ instance: INSTANCE, address: '10.0.0.1', port: 1, identity: { group: 'ct', device: 'ct-9' }, connected: true, firstSeen: AT, lastSeen: AT }],
    line: { received: 1, unique: 1 },
    content: { gateway: 1, bundles: [{ group: 'ct', sequence: 1, line: 1, gateway: 1 }] },
  },
].map(json);

const PARAMS = [
  {},
  { customer: 'fuzz' },
  { customer: 'acme', site: 'fuzz' },
  { customer: 'acme', group: 'fuzz' },
  { ...WHO },
  { customer: 'acme', device: 'ct-9' },
  { application: 'viewer', version: '9.9.9', manifest: HASH, role: 'e30=' },
  { application: 'viewer', version: '9.9.9', reason: 'x' },
  { customer: 'acme', group: 'fuzz', site: null, application: 'viewer', version: null, allowDowngrade: false },
  { application: 'viewer', version: '1.0.0', device: 'ct-1' },
  { device: 'ct-1', limit: 3 },
  { from: 0, limit: 1000 },
];
const request = fc
  .tuple(
    fc.oneof(
      { weight: 8, arbitrary: fc.constantFrom(...Object.keys(OPS_ACTIONS)) },
      { weight: 1, arbitrary: fc.constantFrom('constructor', '__proto__', '', 'x'.repeat(65)) },
    ),
    mutatedJson(PARAMS.map(json)),
    fc.nat(20),
  )
  .map(([action, params, id]) =>
    Buffer.from(`{"id":"00000000-0000-4000-8000-${String(id).padStart(12, '0')}","action":${JSON.stringify(action)},"params":${params.toString('utf8')}}`),
  );
const part = fc.oneof(fc.constantFrom('0', '1', '2', '-1', '00', '999999', '1000000', '', 'x', '+', '0x1'), fc.nat(5).map(String));
const upload = fc.tuple(fc.constantFrom(HASH, 'AB'.repeat(32), '', HASH.slice(1)), part, part).map((levels) => `object/${levels.join('/')}`);

function publish(topic: string, payload: Buffer, number: number): Buffer {
  const text = Buffer.from(topic);
  const length = Buffer.from([text.length >> 8, text.length & 0xff]);
  return packet(0x32, Buffer.concat([length, text, Buffer.from([number >> 8, number & 0xff]), payload]));
}

function subscribe(filter: string): Buffer {
  const text = Buffer.from(filter);
  return packet(0x82, Buffer.concat([Buffer.from([0, 1, text.length >> 8, text.length & 0xff]), text, Buffer.from([1])]));
}

/** @param own statements that this identity could really have signed, to be bent */
export function businessSession(identity: Identity, own: readonly Buffer[] = []): fc.Arbitrary<readonly Buffer[]> {
  const path = identityPath(identity);
  const report = fc.oneof(
    { weight: 6, arbitrary: mutatedJson([...REPORTS, ...own]) },
    { weight: 2, arbitrary: fc.constantFrom(...REPORTS, ...own) },
    { weight: 1, arbitrary: strangeJson.map((value) => Buffer.from(JSON.stringify(value) ?? '')) },
    { weight: 1, arbitrary: noise },
  );
  const said =
    identity.role === 'ops'
      ? fc.oneof(
          { weight: 4, arbitrary: request.map((payload) => ({ verb: 'request', payload })) },
          { weight: 1, arbitrary: mutatedJson([json({ id: INSTANCE, action: 'status', params: {} })]).map((payload) => ({ verb: 'request', payload })) },
          { weight: 2, arbitrary: fc.tuple(upload, noise).map(([verb, payload]) => ({ verb, payload })) },
        )
      : fc.record({ verb: fc.constantFrom(...UP_VERBS), payload: report });
  return fc
    .array(said, { minLength: 1, maxLength: 12 })
    .map((messages) => [
      connectPacket(path),
      subscribe(down(identity, 'offer').replace(/offer$/, '#')),
      ...messages.map(({ verb, payload }, at) => publish(`${ROOT}/${path}/up/${verb}`, payload, at + 2)),
    ]);
}
