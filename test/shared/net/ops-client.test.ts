import { randomBytes } from 'node:crypto';
import { beforeAll, describe, expect, it, onTestFinished } from 'vitest';
import { systemClock } from '../../../shared/base/clock.ts';
import { isWardcastError, WardcastError } from '../../../shared/base/errors.ts';
import { MAX_MANIFEST, MAX_PAYLOAD, OPS_TIMEOUT, PULL_WINDOW } from '../../../shared/base/limits.ts';
import { silentLog } from '../../../shared/base/log.ts';
import { sha256 } from '../../../shared/bundle/digest.ts';
import { OpsClient, type OpsEvent } from '../../../shared/net/ops-client.ts';
import { OpsRequest } from '../../../shared/wire/messages.ts';
import { down, event, parseUp, UP_FILTERS } from '../../../shared/wire/topics.ts';
import { Workshop } from '../../support/bad-certificates.ts';
import { BrokerRig, credentialsOf, DEVICE_A, GATEWAY, OPS, PROVIDER } from '../../support/broker-rig.ts';
import { ManualClock, settle } from '../../support/manual-clock.ts';
import { SimulatedBroker } from '../../support/simulated-line.ts';

let workshop: Workshop;
beforeAll(async () => {
  workshop = await Workshop.open();
});
const is = (code: Parameters<typeof isWardcastError>[1]) => (error: unknown) => isWardcastError(error, code);

type Answer = (request: { id: string; action: string; params?: unknown }) => unknown;

interface Provider {
  readonly rig: BrokerRig;
  readonly ops: OpsClient;
  readonly uploads: Map<string, number>;
}

/** A provider's door and broker, really; what it answers is up to the test. */
async function provider(answer: Answer = () => undefined): Promise<Provider> {
  const rig = await BrokerRig.open(workshop, { door: { credentials: credentialsOf(workshop.leaf(PROVIDER), PROVIDER), accept: ({ role }) => role === 'ops' } });
  const uploads = new Map<string, number>();
  void (async () => {
    for await (const { topic, payload, from, accept } of rig.broker.subscribe([UP_FILTERS.ops])) {
      accept();
      const said = parseUp(topic);
      if (said?.verb === 'object') uploads.set(said.rest.join('/'), payload.length);
      if (said?.verb !== 'request' || from === undefined) continue;
      const request = OpsRequest.parse(JSON.parse(payload.toString()));
      const reply = answer(request);
      if (reply !== undefined) await rig.broker.send(from, down(from, 'reply'), Buffer.from(JSON.stringify(reply)));
    }
  })();
  const ops = await OpsClient.connect({ host: '127.0.0.1', port: rig.port, credentials: rig.credentials(OPS), log: silentLog, clock: systemClock });
  onTestFinished(async () => {
    await ops.close();
    await rig[Symbol.asyncDispose]();
  });
  return { rig, ops, uploads };
}

describe('the ops client', () => {
  it('gets each answer to its own question, whatever the order', async () => {
    const { ops, rig } = await provider();
    const waiting: { id: string }[] = [];
    void (async () => {
      for await (const { payload, from } of rig.broker.subscribe([UP_FILTERS.ops])) {
        waiting.push(OpsRequest.parse(JSON.parse(payload.toString())));
        if (waiting.length < 3 || from === undefined) continue;
        for (const [index, { id }] of [...waiting.entries()].reverse()) {
          await rig.broker.send(from, down(from, 'reply'), Buffer.from(JSON.stringify({ id, ok: true, result: { sequence: index } })));
        }
      }
    })();
    const results = await Promise.all(['a', 'b', 'c'].map((customer) => ops.call('customer.add', { customer })));
    expect(results.map(({ sequence }) => sequence).sort()).toEqual([0, 1, 2]);
  });

  it('throws what the provider refuses with, code and remedy', async () => {
    const { ops } = await provider(({ id }) => ({
      id,
      ok: false,
      error: new WardcastError('CONFLICT', 'exists already', { remedy: 'choose another', context: { customer: 'acme' } }).toJSON(),
    }));
    const refusal = await ops.call('customer.add', { customer: 'acme' }).catch((error: unknown) => error);
    expect(refusal).toMatchObject({ code: 'CONFLICT', message: 'exists already', remedy: 'choose another', context: { customer: 'acme' } });
  });

  it('does not believe an answer of another form', async () => {
    const { ops } = await provider(({ id }) => ({ id, ok: true, result: [{ customer: '../..' }] }));
    await expect(ops.call('customer.list', {})).rejects.toSatisfy(is('PROTOCOL_VIOLATION'));
  });

  it('hears events in order and leaves out what is malformed', async () => {
    const { ops, rig } = await provider(({ id }) => ({ id, ok: true, result: [] }));
    const heard: OpsEvent[] = [];
    const controller = new AbortController();
    const listening = (async () => {
      for await (const one of ops.events({ signal: controller.signal })) if (heard.push(one) === 2) controller.abort();
    })();
    // The subscription stands when this is answered.
    await ops.call('customer.list', {});
    const at = '2030-01-01T00:00:00.000Z';
    const say = (type: string, body: unknown): Promise<void> => rig.broker.publish(event(type), Buffer.from(JSON.stringify(body)));
    await say('gateway-connected', { at, customer: 'acme', site: 'north', gateway: 'gw' });
    await say('gateway-connected', { at, customer: 'NOT AN ID' });
    await say('no-such-event', { at });
    await say('refused', { at, who: 'x', topic: 'y', code: 'DENIED' });
    await listening;
    expect(heard.map(({ type }) => type)).toEqual(['gateway-connected', 'refused']);
  });

  it('uploads more than a window of objects, all of them', async () => {
    const { ops, uploads } = await provider();
    const objects = Array.from({ length: 12 }, () => randomBytes(PULL_WINDOW / 8));
    await Promise.all(objects.map((bytes) => ops.upload(sha256(bytes), bytes)));
    expect(uploads).toEqual(new Map(objects.map((bytes) => [`${sha256(bytes)}/0/1`, bytes.length])));
  });

  it('uploads a large object in parts, and nothing larger than a manifest can be', async () => {
    const { ops, uploads } = await provider();
    const hash = 'a'.repeat(64);
    await ops.upload(hash, Buffer.alloc(2 * MAX_PAYLOAD + 7));
    expect([...uploads].sort()).toEqual([
      [`${hash}/0/3`, MAX_PAYLOAD],
      [`${hash}/1/3`, MAX_PAYLOAD],
      [`${hash}/2/3`, 7],
    ]);
    await ops.upload('b'.repeat(64), Buffer.alloc(0));
    expect(uploads.get(`${'b'.repeat(64)}/0/1`)).toBe(0);
    await expect(ops.upload(hash, Buffer.alloc(MAX_MANIFEST + 1))).rejects.toSatisfy(is('LIMIT_EXCEEDED'));
  });

  it('tells who waits for an answer that the connection broke', async () => {
    const { ops, rig } = await provider();
    const waiting = ops.call('customer.list', {});
    const outcome = expect(waiting).rejects.toSatisfy(is('CONNECTION_LOST'));
    setTimeout(() => rig.broker.disconnect(OPS), 50);
    await outcome;
  });

  it('gives up after a while', async () => {
    const broker = new SimulatedBroker();
    const link = broker.link(OPS);
    const clock = new ManualClock();
    const ops = new OpsClient({ link, identity: { role: 'ops', name: 'alice' }, log: silentLog, clock });
    link.connect();
    const outcome = expect(ops.call('customer.list', {})).rejects.toSatisfy(is('TIMEOUT'));
    await settle();
    await clock.advance(OPS_TIMEOUT);
    await outcome;
    const aborted = ops.call('customer.list', {}, { signal: AbortSignal.timeout(10) });
    await expect(aborted).rejects.toThrow();
    await ops.close();
    expect(clock.sleeping).toBe(0);
  });

  it('says why it cannot connect', async () => {
    const { rig } = await provider();
    const connect = (identity: typeof OPS | typeof DEVICE_A, port = rig.port): Promise<OpsClient> =>
      OpsClient.connect({ host: '127.0.0.1', port, credentials: rig.credentials(identity), log: silentLog, clock: systemClock });
    await expect(connect(DEVICE_A)).rejects.toSatisfy(is('CERT_WRONG_ROLE'));
    await expect(connect(OPS, 1)).rejects.toSatisfy(is('CONNECTION_FAILED'));
    const other = await BrokerRig.open(workshop, { door: { credentials: credentialsOf(workshop.leaf(GATEWAY), GATEWAY) } });
    onTestFinished(() => other[Symbol.asyncDispose]());
    await expect(connect(OPS, other.port)).rejects.toSatisfy(is('SERVER_NAME_WRONG'));
  });
});
