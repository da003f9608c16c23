import { randomBytes } from 'node:crypto';
import { describe, expect, it, onTestFinished } from 'vitest';
import { isWardcastError } from '../../../../shared/base/errors.ts';
import { type Identity, identityPath } from '../../../../shared/base/identity.ts';
import {
  CHUNK_MAX,
  MAX_BAD_OBJECTS,
  MAX_PAYLOAD,
  MAX_SEND_QUEUE_OBJECTS,
  MAX_SILENT_ASKS,
  MAX_WANT_NAMES,
  PULL_TIMEOUT,
  SEND_READ_AHEAD_BYTES,
} from '../../../../shared/base/limits.ts';
import { silentLog } from '../../../../shared/base/log.ts';
import { sha256 } from '../../../../shared/bundle/digest.ts';
import { ObjectChunkSource } from '../../../../shared/net/exchange/object-chunk-source.ts';
import { type ObjectRef, refKey } from '../../../../shared/net/exchange/object-ref.ts';
import { ObjectPuller } from '../../../../shared/net/exchange/puller.ts';
import { ObjectServer } from '../../../../shared/net/exchange/server.ts';
import { Want } from '../../../../shared/wire/messages.ts';
import { UP_FILTERS } from '../../../../shared/wire/topics.ts';
import { chunkSourceContract } from '../../../contract/chunk-source.contract.ts';
import { DEVICE_A, GATEWAY } from '../../../support/broker-rig.ts';
import { ManualClock, settle } from '../../../support/manual-clock.ts';
import { SimulatedBroker, type SimulatedLink } from '../../../support/simulated-line.ts';

interface Rig {
  readonly broker: SimulatedBroker;
  readonly link: SimulatedLink;
  readonly clock: ManualClock;
  readonly puller: ObjectPuller;
  readonly server: ObjectServer;
  readonly objects: Map<string, Buffer>;
  readonly reads: string[];
  /** Names wanted, in the order they were asked for. */
  readonly wanted: string[];
}

function rig(options: { window?: { bytes: number; objects: number }; identity?: Identity; read?: (ref: ObjectRef) => Promise<Buffer | undefined> } = {}): Rig {
  const identity = options.identity ?? GATEWAY;
  const broker = new SimulatedBroker();
  const link = broker.link(identity);
  const clock = new ManualClock();
  const objects = new Map<string, Buffer>();
  const reads: string[] = [];
  const wanted: string[] = [];
  const read = options.read ?? (async (ref: ObjectRef) => objects.get(refKey(ref)));
  const server = new ObjectServer({
    broker,
    log: silentLog,
    read: (_identity, ref) => {
      reads.push(refKey(ref));
      return read(ref);
    },
  });
  const filters = [UP_FILTERS.gateway, UP_FILTERS.device];
  void (async () => {
    for await (const { payload, from, accept } of broker.subscribe(filters)) {
      const want = Want.parse(JSON.parse(payload.toString()));
      wanted.push(...want.names);
      if (from !== undefined) server.handle(from, want);
      accept();
    }
  })();
  const puller = new ObjectPuller({
    link,
    identity,
    log: silentLog,
    clock,
    random: () => 1,
    ...(options.window === undefined ? {} : { window: options.window }),
  });
  link.connect();
  onTestFinished(async () => {
    puller.close();
    server.close();
    await broker.close();
  });
  return { broker, link, clock, puller, server, objects, reads, wanted };
}

function add(objects: Map<string, Buffer>, bytes: Buffer, kind: 'chunk' | 'target' = 'chunk'): ObjectRef {
  const ref = { group: 'ct', kind, name: sha256(bytes) };
  objects.set(refKey(ref), bytes);
  return ref;
}
const is = (code: Parameters<typeof isWardcastError>[1]) => (error: unknown) => isWardcastError(error, code);

chunkSourceContract('ObjectChunkSource', async (chunks) => {
  const { puller, objects } = rig();
  for (const { bytes } of chunks) add(objects, bytes);
  return new ObjectChunkSource({ puller, group: 'ct' });
});

describe('the exchange', () => {
  it('carries objects of any size, also over one payload', async () => {
    const { puller, objects } = rig();
    const large = randomBytes(MAX_PAYLOAD * 2 + 5);
    for (const bytes of [Buffer.alloc(0), Buffer.from('x'), randomBytes(MAX_PAYLOAD), large]) {
      const ref = add(objects, bytes, 'target');
      expect((await puller.get(ref)).equals(bytes)).toBe(true);
    }
  });

  it('keeps a bounded number of refusals for a client that asks without end and reads nothing', async () => {
    const gate = Promise.withResolvers<void>();
    const told: number[] = [];
    const send = async (_to: Identity, _topic: string, payload: Buffer): Promise<void> => {
      told.push(JSON.parse(payload.toString()).names.length);
      await gate.promise;
    };
    const server = new ObjectServer({ broker: Object.assign(new SimulatedBroker(), { send }), log: silentLog, read: async () => undefined });
    onTestFinished(() => server.close());
    for (let want = 0; want < 100; want++) {
      const names = Array.from({ length: MAX_WANT_NAMES }, () => randomBytes(32).toString('hex'));
      server.handle(DEVICE_A, { group: 'not-mine', kind: 'chunk', names });
      await settle();
    }
    gate.resolve();
    await expect.poll(() => told.length).toBeGreaterThan(1);
    for (let turn = 0; turn < 50; turn++) await settle();
    expect(told.reduce((sum, names) => sum + names, 0)).toBeLessThanOrEqual(MAX_WANT_NAMES + 2 * MAX_SEND_QUEUE_OBJECTS);
  });

  it('asks for many objects in few messages', async () => {
    const { puller, objects, broker } = rig();
    const refs = Array.from({ length: 600 }, () => add(objects, randomBytes(10)));
    await Promise.all(refs.map((ref) => puller.get(ref, { size: 10 })));
    expect(broker.received).toBeLessThanOrEqual(4);
  });

  it('never has more asked for than the window allows', async () => {
    const window = { bytes: 1000, objects: 5 };
    const { puller, objects } = rig({ window });
    let most = { bytes: 0, objects: 0 };
    const watch = setInterval(() => undefined, 1000);
    onTestFinished(() => clearInterval(watch));
    const refs = Array.from({ length: 100 }, (_, n) => add(objects, randomBytes(50 + 3 * n)));
    await Promise.all(
      refs.map(async (ref, n) => {
        await puller.get(ref, { size: 50 + 3 * n });
        const { bytes, objects: count } = puller.outstanding;
        most = { bytes: Math.max(most.bytes, bytes), objects: Math.max(most.objects, count) };
      }),
    );
    expect(most.bytes).toBeLessThanOrEqual(1000);
    expect(most.objects).toBeLessThanOrEqual(5);
    expect(puller.outstanding).toEqual({ bytes: 0, objects: 0, waiting: 0 });
  });

  it('asks for signed files before chunks that wait, whatever is outstanding', async () => {
    const { puller, objects, wanted } = rig({ window: { bytes: 1000, objects: 2 } });
    const chunks = Array.from({ length: 20 }, () => add(objects, randomBytes(500)));
    const all = chunks.map((ref) => puller.get(ref, { size: 500 }));
    await new Promise(setImmediate);
    const target = add(objects, randomBytes(5000), 'target');
    await puller.get(target);
    expect(wanted.indexOf(target.name)).toBeLessThan(4);
    await Promise.all(all);
  });

  it('shares one transfer among those who ask for the same', async () => {
    const { puller, objects, reads } = rig();
    const ref = add(objects, randomBytes(100));
    const [a, b] = await Promise.all([puller.get(ref), puller.get(ref)]);
    expect(a).toBe(b);
    expect(reads.length).toBe(1);
  });

  it('tells what is absent without disturbing the rest', async () => {
    const { puller, objects } = rig();
    const ref = add(objects, randomBytes(100));
    const missing = { group: 'ct', kind: 'metadata', name: '9.root.json' } as const;
    const [good, bad] = await Promise.allSettled([puller.get(ref), puller.get(missing)]);
    expect(good.status).toBe('fulfilled');
    expect(bad).toMatchObject({ status: 'rejected', reason: { code: 'OBJECT_ABSENT' } });
  });

  it('answers a device that asks for another group as if there were nothing, without looking', async () => {
    const { puller, objects, reads } = rig({ identity: DEVICE_A });
    const bytes = randomBytes(10);
    objects.set(`pumps/chunk/${sha256(bytes)}`, bytes);
    await expect(puller.get({ group: 'pumps', kind: 'chunk', name: sha256(bytes) })).rejects.toSatisfy(is('OBJECT_ABSENT'));
    expect(reads).toEqual([]);
  });

  it('asks again after a cut, and every object that had arrived stays arrived', async () => {
    const { puller, objects, link, broker } = rig({ window: { bytes: 2000, objects: 4 } });
    const refs = Array.from({ length: 40 }, () => add(objects, randomBytes(500)));
    let arrived = 0;
    const all = Promise.all(refs.map((ref) => puller.get(ref, { size: 500 }).then(() => arrived++)));
    for (let cut = 1; cut <= 5; cut++) {
      while (arrived < cut * 6) await settle();
      link.cut();
      await settle();
      link.connect();
    }
    await all;
    // At most the window is lost with each cut.
    expect(broker.sent.filter(({ topic }) => topic.includes('/object/')).length).toBeLessThanOrEqual(40 + 5 * 4);
  });

  it('waits while the line is down', async () => {
    const { puller, objects, link } = rig();
    link.cut();
    const ref = add(objects, randomBytes(10));
    const getting = puller.get(ref);
    await settle();
    expect(puller.outstanding.objects).toBe(0);
    link.connect();
    await getting;
  });

  it('asks again for an object that was altered on the way, and gives up when it stays so', async () => {
    const { puller, objects, broker, reads } = rig();
    const ref = add(objects, randomBytes(100));
    let altered = 0;
    broker.tamper = (topic, payload) => {
      if (!topic.includes('/object/') || altered >= MAX_BAD_OBJECTS - 1) return payload;
      altered += 1;
      return Buffer.concat([payload.subarray(1), Buffer.from([0])]);
    };
    await puller.get(ref);
    expect(reads.length).toBe(MAX_BAD_OBJECTS);
    broker.tamper = (_topic, payload) => Buffer.alloc(payload.length, 1);
    await expect(puller.get(ref)).rejects.toSatisfy(is('HASH_MISMATCH'));
  });

  it('does not take in more than it was told to expect', async () => {
    const { puller, objects } = rig();
    const ref = add(objects, randomBytes(MAX_PAYLOAD + 10), 'target');
    await expect(puller.get(ref, { maxBytes: 1000 })).rejects.toSatisfy(is('LIMIT_EXCEEDED'));
  });

  it('asks again after silence, and in the end says so', async () => {
    const { puller, objects, broker, clock, wanted } = rig();
    const ref = add(objects, randomBytes(10));
    broker.tamper = () => undefined;
    const lost = puller.get(ref);
    const outcome = expect(lost).rejects.toSatisfy(is('OBJECT_TIMEOUT'));
    await clock.advance(PULL_TIMEOUT * MAX_SILENT_ASKS);
    await outcome;
    expect(wanted.length).toBe(MAX_SILENT_ASKS);
    expect(clock.sleeping).toBe(0);
  });

  it('recovers from a single lost answer', async () => {
    const { puller, objects, broker, clock } = rig();
    const ref = add(objects, randomBytes(10));
    broker.tamper = () => undefined;
    const getting = puller.get(ref);
    await settle();
    broker.tamper = (_topic, payload) => payload;
    await clock.advance(PULL_TIMEOUT);
    await getting;
  });

  it('comes back later to a server that is busy or fails to read', async () => {
    let failures = 3;
    const bytes = randomBytes(10);
    const { puller, clock, reads } = rig({
      read: async () => {
        if (failures-- > 0) throw new Error('disk trouble');
        return bytes;
      },
    });
    const getting = puller.get({ group: 'ct', kind: 'chunk', name: sha256(bytes) });
    await clock.advance(60_000);
    await getting;
    expect(reads.length).toBe(4);
  });

  it('forgets who gave up, and lets what is on its way arrive unheard', async () => {
    const { puller, objects, link } = rig();
    link.cut();
    const controller = new AbortController();
    const ref = add(objects, randomBytes(10));
    const given = puller.get(ref, { signal: controller.signal });
    const kept = puller.get(ref);
    controller.abort(new Error('enough'));
    await expect(given).rejects.toThrow('enough');
    link.connect();
    await kept;
    const late = new AbortController();
    const asked = puller.get(add(objects, randomBytes(10)), { signal: late.signal });
    await new Promise(setImmediate);
    late.abort(new Error('too late'));
    await expect(asked).rejects.toThrow('too late');
    await settle();
    expect(puller.outstanding).toEqual({ bytes: 0, objects: 0, waiting: 0 });
  });

  it('tells everybody when it is closed', async () => {
    const { puller, objects, link } = rig();
    link.cut();
    const getting = puller.get(add(objects, randomBytes(10)));
    puller.close();
    await expect(getting).rejects.toSatisfy(is('CONNECTION_LOST'));
    await expect(puller.get(add(objects, randomBytes(10)))).rejects.toSatisfy(is('CONNECTION_LOST'));
  });

  it('ignores what it never asked for and what is malformed', async () => {
    const { puller, objects, link } = rig();
    const base = `wardcast/1/${identityPath(GATEWAY)}/down`;
    link.deliver(`${base}/object/ct/chunk/${'a'.repeat(64)}/0/1`, Buffer.from('x'));
    link.deliver(`${base}/object/nonsense`, Buffer.from('x'));
    link.deliver(`${base}/absent`, Buffer.from('{'));
    link.deliver(`${base}/absent`, Buffer.from('{"group":"ct"}'));
    await settle();
    await puller.get(add(objects, randomBytes(10)));
  });
});

describe('the object server', () => {
  it('serves clients side by side: a stalled one holds up nobody', async () => {
    const { broker, server, objects } = rig();
    const device = broker.link(DEVICE_A);
    device.connect();
    const stalled = new Promise<void>(() => undefined);
    broker.drain = (to) => (to.role === 'device' ? stalled : new Promise(setImmediate));
    const refs = Array.from({ length: 20 }, () => add(objects, randomBytes(100)));
    const names = refs.map((ref) => ref.name);
    server.handle(DEVICE_A, { group: 'ct', kind: 'chunk', names });
    server.handle(GATEWAY, { group: 'ct', kind: 'chunk', names });
    for (let turn = 0; turn < 20; turn++) await settle();
    expect(broker.sent.filter(({ to }) => to === identityPath(GATEWAY)).length).toBe(20);
    expect(broker.sent.filter(({ to }) => to === identityPath(DEVICE_A)).length).toBe(1);
  });

  it('sends a signed file after at most one more chunk, however many chunks are queued and read', async () => {
    const { broker, server, objects } = rig();
    const chunks = Array.from({ length: 50 }, () => add(objects, randomBytes(100)).name);
    const target = add(objects, randomBytes(100), 'target').name;
    server.handle(GATEWAY, { group: 'ct', kind: 'chunk', names: chunks });
    while (broker.sent.length < 5) await new Promise(setImmediate);
    const before = broker.sent.length;
    server.handle(GATEWAY, { group: 'ct', kind: 'target', names: [target] });
    while (broker.sent.length < 51) await new Promise(setImmediate);
    expect(broker.sent.findIndex(({ topic }) => topic.includes(target)) - before).toBeLessThanOrEqual(1);
  });

  it('reads no more ahead for all clients together than its bound, and still serves each', async () => {
    let reading = 0;
    let most = 0;
    const bytes = Buffer.alloc(CHUNK_MAX);
    const { broker, server } = rig({
      read: async () => {
        reading += 1;
        most = Math.max(most, reading);
        await settle();
        reading -= 1;
        return bytes;
      },
    });
    const clients = Array.from({ length: 100 }, (_, n) => ({ ...DEVICE_A, device: `ct-${n}` }));
    for (const client of clients) {
      broker.link(client).connect();
      server.handle(client, { group: 'ct', kind: 'chunk', names: Array.from({ length: 8 }, (_, n) => sha256(Buffer.from(String(n)))) });
    }
    for (let turn = 0; turn < 60; turn++) await settle();
    expect(broker.sent.length).toBe(800);
    expect(most).toBeLessThanOrEqual(SEND_READ_AHEAD_BYTES / CHUNK_MAX + clients.length);
  });

  it('does not send twice what is asked twice', async () => {
    const { broker, server, objects } = rig();
    const names = Array.from({ length: 10 }, () => add(objects, randomBytes(100)).name);
    server.handle(GATEWAY, { group: 'ct', kind: 'chunk', names });
    server.handle(GATEWAY, { group: 'ct', kind: 'chunk', names });
    for (let turn = 0; turn < 10; turn++) await settle();
    expect(broker.sent.length).toBe(10);
  });

  it('says busy when a client asks for more than its queue holds', async () => {
    const { broker, server } = rig();
    broker.drain = () => new Promise(() => undefined);
    const told: unknown[] = [];
    broker.tamper = (topic, payload) => {
      if (topic.endsWith('/absent')) told.push(JSON.parse(payload.toString()));
      return payload;
    };
    for (let batch = 0; batch < 9; batch++) {
      const names = Array.from({ length: 512 }, (_, n) => sha256(Buffer.from(`${batch}/${n}`)));
      server.handle(GATEWAY, { group: 'ct', kind: 'chunk', names });
    }
    broker.drain = () => new Promise(setImmediate);
    while (told.length < 9) await settle();
    expect(told).toContainEqual(expect.objectContaining({ reason: 'busy' }));
  });

  it('drops the queue of a client that is gone', async () => {
    const { broker, server, objects, link, reads } = rig();
    const names = Array.from({ length: 100 }, () => add(objects, randomBytes(100)).name);
    server.handle(GATEWAY, { group: 'ct', kind: 'chunk', names });
    await new Promise(setImmediate);
    link.cut();
    for (let turn = 0; turn < 10; turn++) await settle();
    expect(reads.length).toBeLessThan(20);
    expect(broker.sent.length).toBeLessThan(5);
  });
});
