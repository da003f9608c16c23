import { once } from 'node:events';
import type { TLSSocket } from 'node:tls';
import type { MqttClient } from 'mqtt';
import { afterEach, beforeAll, describe, expect, it } from 'vitest';
import { systemClock } from '../../../shared/base/clock.ts';
import { isWardcastError } from '../../../shared/base/errors.ts';
import { type Identity, identityPath } from '../../../shared/base/identity.ts';
import {
  MAX_CONNECT_PACKET,
  MAX_HELD_PUBLISHES,
  MAX_KEEPALIVE,
  MAX_PACKET,
  MAX_PAYLOAD,
  MAX_REFUSED_PUBLISHES,
  MAX_SEND_QUEUE,
  MAX_SUBSCRIPTIONS,
  MAX_UNSENT_MESSAGES,
} from '../../../shared/base/limits.ts';
import type { Presence } from '../../../shared/net/broker.ts';
import { announce, announceFilter, down, downFilter, UP_FILTERS, up } from '../../../shared/wire/topics.ts';
import { Workshop } from '../../support/bad-certificates.ts';
import { BrokerRig, DEVICE_A, DEVICE_A2, DEVICE_B, GATEWAY, isUp, OPS, whyDown } from '../../support/broker-rig.ts';
import { Inbox } from '../../support/deliveries.ts';

let workshop: Workshop;
let rig: BrokerRig;

beforeAll(async () => {
  workshop = await Workshop.open();
});
afterEach(async () => {
  await rig[Symbol.asyncDispose]();
});

async function openRig(options: Parameters<typeof BrokerRig.open>[1] = {}): Promise<BrokerRig> {
  rig = await BrokerRig.open(workshop, options);
  return rig;
}

function texts(client: MqttClient): string[] {
  const heard: string[] = [];
  client.on('message', (_topic, payload) => heard.push(payload.toString()));
  return heard;
}

/** Everything said to the client before has arrived when this has: one connection keeps its order. */
async function mark(client: MqttClient, who: Identity = DEVICE_A, text = 'mark'): Promise<void> {
  const arrived = new Promise<void>((resolve) => client.on('message', (_topic, payload) => payload.toString() === text && resolve()));
  await rig.broker.send(who, down(who, 'offer'), Buffer.from(text));
  await arrived;
}

function connectPacket(clientId: string, o: { level?: number; flags?: number; keepalive?: number; name?: string; tail?: Buffer } = {}): Buffer {
  const text = (value: string): Buffer => Buffer.concat([Buffer.from([value.length >> 8, value.length & 0xff]), Buffer.from(value)]);
  const keepalive = o.keepalive ?? 60;
  const body = Buffer.concat([
    text(o.name ?? 'MQTT'),
    Buffer.from([o.level ?? 4, o.flags ?? 2, keepalive >> 8, keepalive & 0xff]),
    ...(o.level === 5 ? [Buffer.from([0])] : []),
    text(clientId),
    o.tail ?? Buffer.alloc(0),
  ]);
  return Buffer.concat([Buffer.from([0x10, body.length]), body]);
}

async function closed(socket: TLSSocket): Promise<void> {
  socket.resume();
  if (!socket.closed) await once(socket, 'close');
}

async function answer(socket: TLSSocket): Promise<number[]> {
  const [bytes] = await once(socket, 'data');
  return [...Buffer.from(bytes)];
}

describe('The embedded broker', () => {
  it('says who published, from the certificate', async () => {
    const { broker } = await openRig();
    const inbox = new Inbox(broker.subscribe([UP_FILTERS.device, UP_FILTERS.gateway]));
    const [device, gateway] = await Promise.all([rig.linked(DEVICE_A), rig.linked(GATEWAY)]);
    await device.publish(up(DEVICE_A, 'hello'), Buffer.from('device'));
    await gateway.publish(up(GATEWAY, 'hello'), Buffer.from('gateway'), { qos: 0 });
    await inbox.first(2);
    expect(inbox.all.map(({ from, payload }) => [payload.toString(), from])).toEqual([
      ['device', DEVICE_A],
      ['gateway', GATEWAY],
    ]);
  });

  it('tells of coming and going, and who is connected', async () => {
    const { broker } = await openRig();
    const seen: Presence[] = [];
    broker.onPresence((presence) => seen.push(presence));
    const link = await rig.linked(DEVICE_A);
    expect(broker.connected(DEVICE_A)).toBe(true);
    expect(broker.connected(DEVICE_A2)).toBe(false);
    await link.close();
    await rig.log.seen('broker.disconnected');
    expect(broker.connected(DEVICE_A)).toBe(false);
    expect(seen.map(({ identity, connected, address }) => [identity, connected, address])).toEqual([
      [DEVICE_A, true, '127.0.0.1'],
      [DEVICE_A, false, '127.0.0.1'],
    ]);
  });

  it('ends the connection of an identity on demand', async () => {
    await openRig();
    const link = await rig.linked(DEVICE_A);
    const why = whyDown(link);
    rig.broker.disconnect(DEVICE_A);
    expect(rig.broker.connected(DEVICE_A)).toBe(false);
    expect(await why).toSatisfy((error) => isWardcastError(error, 'CONNECTION_LOST'));
  });

  it('sends to one client only what it may read, and says when it is not there', async () => {
    await openRig();
    await rig.linked(DEVICE_A);
    await expect(rig.broker.send(DEVICE_A, down(DEVICE_B, 'offer'), Buffer.from('x'))).rejects.toSatisfy((error) => isWardcastError(error, 'DENIED'));
    await expect(rig.broker.send(DEVICE_B, down(DEVICE_B, 'offer'), Buffer.from('x'))).rejects.toSatisfy((error) => isWardcastError(error, 'CONNECTION_LOST'));
    await expect(rig.broker.send(DEVICE_A, down(DEVICE_A, 'object'), Buffer.alloc(MAX_PAYLOAD + 1))).rejects.toSatisfy((error) =>
      isWardcastError(error, 'LIMIT_EXCEEDED'),
    );
  });

  it('loses nothing when bulk and control messages to one client cross', async () => {
    await openRig();
    const link = rig.link(DEVICE_A);
    const inbox = new Inbox(link.subscribe([downFilter(DEVICE_A), announceFilter(DEVICE_A)]));
    await isUp(link);
    const jobs: Promise<void>[] = [];
    for (let i = 0; i < 300; i++) {
      jobs.push(rig.broker.send(DEVICE_A, down(DEVICE_A, 'object'), Buffer.alloc(20_000, i), { qos: 0 }));
      jobs.push(rig.broker.publish(announce(DEVICE_A, 'offer'), Buffer.from(`offer ${i}`)));
      jobs.push(rig.broker.publish(announce(DEVICE_A, 'peers'), Buffer.from(`peers ${i}`), { qos: 0 }));
    }
    await Promise.all(jobs);
    await inbox.first(900);
    expect(inbox.all.filter(({ topic }) => topic.endsWith('/offer')).map(({ payload }) => payload.toString())).toEqual(
      Array.from({ length: 300 }, (_, i) => `offer ${i}`),
    );
    expect(inbox.all.filter(({ topic }) => topic.endsWith('/object')).map(({ payload }) => payload[0])).toEqual(
      Array.from({ length: 300 }, (_, i) => i & 0xff),
    );
  });

  it('tells the sender when nobody handles what it may say', async () => {
    await openRig();
    const link = await rig.linked(DEVICE_A);
    await link.publish(up(DEVICE_A, 'hello'), Buffer.from('x'));
    await rig.linkLog.seen('link.publish_refused', ({ notice }) => String(notice).includes('BUSY'));
  });

  it.each([
    ['many', MAX_UNSENT_MESSAGES + 100, 16],
    ['much', MAX_SEND_QUEUE / MAX_PAYLOAD + 40, MAX_PAYLOAD],
  ])('drops a client that never reads when %s messages to it pile up, long before the drain timeout', async (_what, count, bytes) => {
    await openRig({ broker: { drainTimeout: 600_000 } });
    const frozen = await rig.raw(DEVICE_A);
    frozen.write(connectPacket(identityPath(DEVICE_A)));
    expect(await answer(frozen)).toEqual([0x20, 2, 0, 0]);
    frozen.pause();
    const payload = Buffer.alloc(bytes);
    const sends = Array.from({ length: count }, () => rig.broker.send(DEVICE_A, down(DEVICE_A, 'receipt'), payload));
    const results = await Promise.allSettled(sends);
    expect(results.at(-1)).toMatchObject({ status: 'rejected', reason: { code: 'CONNECTION_LOST' } });
    expect(rig.broker.connected(DEVICE_A)).toBe(false);
    expect(rig.log.all('broker.behind')).toHaveLength(1);
  });

  it('drops a client that asks for refusals and never reads them', async () => {
    await openRig({ broker: { drainTimeout: 600_000, policy: { mayPublish: () => true, mayRead: () => true } } });
    const frozen = await rig.raw(DEVICE_A);
    frozen.write(connectPacket(identityPath(DEVICE_A)));
    expect(await answer(frozen)).toEqual([0x20, 2, 0, 0]);
    frozen.pause();
    const topic = Buffer.from('x'.repeat(1000));
    const publish = Buffer.concat([Buffer.from([0x30, 0x80 | (1002 & 0x7f), 1002 >> 7, 1000 >> 8, 1000 & 0xff]), topic]);
    const flood = Buffer.concat(Array.from({ length: 1000 }, () => publish));
    for (let i = 0; i < 60; i++) frozen.write(flood);
    await rig.log.seen('broker.behind');
    expect(rig.broker.connected(DEVICE_A)).toBe(false);
  });

  it('gives the place to the newer connection of the same identity', async () => {
    await openRig();
    // It would come back and take the place again: it waits for ever instead.
    const asleep = (_ms: number, o?: { signal?: AbortSignal | undefined }): Promise<void> =>
      new Promise((resolve) => o?.signal?.addEventListener('abort', () => resolve(), { once: true }));
    const older = await rig.linked(DEVICE_A, { clock: { ...systemClock, sleep: asleep } });
    const why = whyDown(older);
    const newer = await rig.foreign(DEVICE_A);
    await why;
    expect(rig.broker.connected(DEVICE_A)).toBe(true);
    await mark(newer);
  });

  it('refuses MQTT 3.1 and 5 with the return code for it', async () => {
    await openRig();
    for (const packet of [connectPacket(identityPath(DEVICE_A), { level: 5 }), connectPacket(identityPath(DEVICE_A), { level: 3, name: 'MQIsdp' })]) {
      const socket = await rig.raw(DEVICE_A);
      socket.write(packet);
      expect(await answer(socket)).toEqual([0x20, 2, 0, 1]);
      await closed(socket);
    }
  });

  it.each([0, MAX_KEEPALIVE + 1])('refuses a keep-alive of %i s', async (keepalive) => {
    await openRig();
    const socket = await rig.raw(DEVICE_A);
    socket.write(connectPacket(identityPath(DEVICE_A), { keepalive }));
    expect(await answer(socket)).toEqual([0x20, 2, 0, 5]);
    await closed(socket);
  });

  it('grants a client a few subscriptions and no more', async () => {
    await openRig();
    const client = await rig.foreign(OPS);
    const filters = Array.from({ length: MAX_SUBSCRIPTIONS + 1 }, (_, i) => `wardcast/1/event/e${i}`);
    const last = filters.pop() ?? '';
    await client.subscribeAsync(filters);
    await expect(client.subscribeAsync(last)).rejects.toThrow();
    await client.unsubscribeAsync(filters.slice(0, 1));
    await client.subscribeAsync(last);
  });

  it('lets one ops certificate hold several connections, and any other only one', async () => {
    await openRig();
    const first = await rig.foreign(OPS, { clientId: `${identityPath(OPS)}/1` });
    const second = await rig.foreign(OPS, { clientId: `${identityPath(OPS)}/2` });
    const heard = [texts(first), texts(second)];
    for (const client of [first, second]) await client.subscribeAsync(downFilter(OPS), { qos: 1 });
    await rig.broker.publish(down(OPS, 'reply'), Buffer.from('both'));
    for (const client of [first, second]) await mark(client, OPS);
    expect(heard).toEqual([
      ['both', 'mark', 'mark'],
      ['both', 'mark', 'mark'],
    ]);
    await expect(rig.foreign(DEVICE_A, { clientId: `${identityPath(DEVICE_A)}/1` })).rejects.toThrow();
    await expect(rig.foreign(OPS, { clientId: 'ops/somebody-else/1' })).rejects.toThrow();
    await expect(rig.foreign(OPS, { clientId: `${identityPath(OPS)}/../x` })).rejects.toThrow();
  });

  it('ends subscriptions and refuses publishes when closed', async () => {
    await openRig();
    const inbox = new Inbox(rig.broker.subscribe([UP_FILTERS.device]));
    const link = await rig.linked(DEVICE_A);
    const why = whyDown(link);
    await rig.broker.close();
    await inbox.ended;
    await why;
    await expect(rig.broker.publish(announce(DEVICE_A, 'offer'), Buffer.from('x'))).rejects.toSatisfy((error) => isWardcastError(error, 'CONNECTION_LOST'));
  });
});

describe('Ten facts about aedes:', () => {
  it('1. persistence loses live messages – so no session outlives its connection, and nothing is queued', async () => {
    await openRig();
    const first = await rig.foreign(DEVICE_A, { clean: false });
    await first.subscribeAsync(downFilter(DEVICE_A), { qos: 1 });
    await first.endAsync();
    await rig.log.seen('broker.disconnected');
    await rig.broker.publish(down(DEVICE_A, 'receipt'), Buffer.from('while away'));
    const again = rig.foreign(DEVICE_A, { clean: false });
    const client = await again;
    const heard = texts(client);
    await rig.broker.publish(down(DEVICE_A, 'receipt'), Buffer.from('not subscribed'));
    await mark(client);
    expect(heard).toEqual(['mark']);
  });

  it('2. PUBACK comes before anything is stored – so it waits until the owner has accepted', async () => {
    await openRig();
    const inbox = new Inbox(rig.broker.subscribe([UP_FILTERS.device]), { accept: false });
    const link = await rig.linked(DEVICE_A);
    let acknowledged = false;
    const publish = link.publish(up(DEVICE_A, 'statement'), Buffer.from('kept')).then(() => {
      acknowledged = true;
    });
    const [delivery] = await inbox.first(1);
    // A whole round trip later there is still no acknowledgement.
    await rig.foreign(DEVICE_B);
    expect(acknowledged).toBe(false);
    delivery?.accept();
    delivery?.accept();
    await publish;
    expect(acknowledged).toBe(true);
  });

  it('2. what the owner never took is not acknowledged: the sender learns it and keeps it', async () => {
    await openRig();
    const controller = new AbortController();
    rig.broker.subscribe([UP_FILTERS.device], { signal: controller.signal });
    const inbox = new Inbox(rig.broker.subscribe([UP_FILTERS.device]));
    const link = await rig.linked(DEVICE_A);
    const publish = link.publish(up(DEVICE_A, 'statement'), Buffer.from('kept'));
    publish.catch(() => undefined);
    // One reader has accepted it, so it lies unread at the other, which now goes away.
    await inbox.first(1);
    controller.abort();
    await expect(publish).rejects.toSatisfy((error) => isWardcastError(error, 'CONNECTION_LOST'));
  });

  it('2. a sender whose messages are not accepted is not read any more', async () => {
    await openRig();
    const inbox = new Inbox(rig.broker.subscribe([UP_FILTERS.device]), { accept: false });
    const client = await rig.foreign(DEVICE_A);
    const payload = Buffer.alloc(8 * 1024);
    const total = 3000;
    const acknowledged = Promise.all(Array.from({ length: total }, () => client.publishAsync(up(DEVICE_A, 'progress'), payload, { qos: 1 })));
    acknowledged.catch(() => undefined);
    await inbox.first(1);
    let before = -1;
    while (before !== inbox.all.length) {
      before = inbox.all.length;
      await new Promise((resolve) => setTimeout(resolve, 200));
    }
    expect(inbox.all.length).toBeLessThan(2 * MAX_HELD_PUBLISHES);
    for (let accepted = 0; accepted < total; accepted++) {
      await inbox.first(accepted + 1);
      inbox.all[accepted]?.accept();
    }
    await acknowledged;
    expect(inbox.all).toHaveLength(total);
  });

  it('3. one SUBSCRIBE with an allowed and a denied topic stores both – denied alone, and nothing of it comes back with the session', async () => {
    await openRig();
    const connect = (): Promise<MqttClient> => rig.foreign(DEVICE_B, { clean: false });
    const thief = await connect();
    const granted: unknown[] = [];
    thief.on('packetreceive', (packet) => packet.cmd === 'suback' && granted.push(packet.granted));
    await thief.subscribeAsync([downFilter(DEVICE_B), downFilter(DEVICE_A), announceFilter(DEVICE_A)], { qos: 1 }).catch(() => undefined);
    expect(granted).toEqual([[1, 128, 128]]);
    await thief.endAsync();
    const back = await connect();
    const heard = texts(back);
    await back.subscribeAsync(downFilter(DEVICE_B), { qos: 1 });
    await rig.broker.publish(announce(DEVICE_A, 'offer'), Buffer.from('secret'));
    await rig.broker.publish(down(DEVICE_A, 'offer'), Buffer.from('secret'));
    await mark(back, DEVICE_B);
    expect(heard).toEqual(['mark']);
  });

  it('3. forwarding asks the policy too: a subscription that got past it hears nothing', async () => {
    const granted = { mayRead: true };
    await openRig({ broker: { policy: { mayRead: () => granted.mayRead, mayPublish: () => false } } });
    const client = await rig.foreign(DEVICE_B);
    const heard = texts(client);
    await client.subscribeAsync('wardcast/1/#', { qos: 1 });
    granted.mayRead = false;
    await rig.broker.publish(announce(DEVICE_A, 'offer'), Buffer.from('secret'));
    await rig.broker.publish(announce(DEVICE_A, 'offer'), Buffer.from('secret'), { qos: 0 });
    granted.mayRead = true;
    await mark(client, DEVICE_B);
    expect(heard).toEqual(['mark']);
  });

  it('3. nothing that a client says reaches another client, even if a policy let both', async () => {
    await openRig({ broker: { policy: { mayRead: () => true, mayPublish: () => true } } });
    const inbox = new Inbox(rig.broker.subscribe(['#']));
    const [speaker, listener] = await Promise.all([rig.foreign(DEVICE_A), rig.foreign(DEVICE_B)]);
    const heard = texts(listener);
    await listener.subscribeAsync(['#', '$SYS/#'], { qos: 1 });
    await speaker.publishAsync(down(DEVICE_B, 'offer'), 'forged', { qos: 1 });
    await inbox.with('forged');
    await mark(listener, DEVICE_B);
    expect(heard.filter((text) => text === 'forged')).toEqual([]);
  });

  it.each([
    ['of another device', identityPath(DEVICE_A)],
    ['that is empty', ''],
    ['with a control character', `${identityPath(DEVICE_B)}\n{"event":"forged"}`],
  ])('4. any certificate could take any client id – a client id %s is refused', async (_what, clientId) => {
    await openRig();
    const victim = await rig.foreign(DEVICE_A);
    const socket = await rig.raw(DEVICE_B);
    socket.write(connectPacket(clientId));
    expect(await answer(socket)).toEqual([0x20, 2, 0, 2]);
    await closed(socket);
    expect(rig.broker.connected(DEVICE_B)).toBe(false);
    await mark(victim);
    const line = await rig.log.seen('broker.refused');
    expect(line).toMatchObject({ client: identityPath(DEVICE_B), code: 'DENIED' });
    // biome-ignore lint/suspicious/noControlCharactersInRegex: that none is there is what is tested.
    expect(JSON.stringify(line['message'])).not.toMatch(/[\u0000-\u001f]|\\n/);
  });

  it('5. an own authorizePublish drops the protection of $SYS – nobody writes or reads there', async () => {
    await openRig();
    const inbox = new Inbox(rig.broker.subscribe(['$SYS/#']));
    const client = await rig.foreign(DEVICE_A);
    const heard = texts(client);
    for (const filter of ['$SYS/#', '#', '+/#', '$SYS/+/heartbeat']) await expect(client.subscribeAsync(filter)).rejects.toThrow();
    for (const topic of ['$SYS/x', '$SYS/broker/new/clients', '$SYS']) await client.publishAsync(topic, 'forged', { qos: 1 });
    await rig.foreign(DEVICE_B);
    await mark(client);
    expect(heard.filter((text) => !text.startsWith('{'))).toEqual(['mark']);
    expect(inbox.all).toEqual([]);
    expect(rig.log.all('broker.refused').map(({ topic }) => topic)).toContain('$SYS/broker/new/clients');
  });

  it('6. no packet has a limit – a CONNECT over the limit ends the connection at its header', async () => {
    await openRig();
    const socket = await rig.raw(DEVICE_A);
    socket.write(Buffer.from([0x10, ((MAX_CONNECT_PACKET + 1) & 0x7f) | 0x80, (MAX_CONNECT_PACKET + 1) >> 7]));
    await closed(socket);
    expect(await rig.log.seen('broker.refused')).toMatchObject({ client: identityPath(DEVICE_A), code: 'PROTOCOL_VIOLATION' });
  });

  it('6. no packet has a limit – a later packet over the limit ends the connection at its header', async () => {
    await openRig();
    const socket = await rig.raw(DEVICE_A);
    socket.write(connectPacket(identityPath(DEVICE_A)));
    expect(await answer(socket)).toEqual([0x20, 2, 0, 0]);
    const length = MAX_PACKET;
    socket.write(Buffer.from([0x30, (length & 0x7f) | 0x80, ((length >> 7) & 0x7f) | 0x80, (length >> 14) & 0x7f]));
    await closed(socket);
    expect(await rig.log.seen('broker.refused')).toMatchObject({ code: 'PROTOCOL_VIOLATION' });
  });

  it('6. a payload of exactly the limit passes, both ways', async () => {
    await openRig();
    const inbox = new Inbox(rig.broker.subscribe([UP_FILTERS.ops]));
    const link = rig.link(OPS);
    const heard = new Inbox(link.subscribe([downFilter(OPS)]));
    await isUp(link);
    const payload = Buffer.alloc(MAX_PAYLOAD, 7);
    await link.publish(up(OPS, 'object', 'a'.repeat(64), '0', '1'), payload);
    await rig.broker.send(OPS, down(OPS, 'reply'), payload);
    expect((await inbox.first(1))[0]?.payload.equals(payload)).toBe(true);
    expect((await heard.first(1))[0]?.payload.equals(payload)).toBe(true);
  });

  it('7. one frozen subscriber stalls all – here it stalls nobody, and is dropped', async () => {
    await openRig({ broker: { drainTimeout: 1000 } });
    const frozen = await rig.raw(DEVICE_A);
    frozen.write(connectPacket(identityPath(DEVICE_A)));
    expect(await answer(frozen)).toEqual([0x20, 2, 0, 0]);
    const filter = announceFilter(DEVICE_A);
    frozen.write(Buffer.concat([Buffer.from([0x82, filter.length + 5, 0, 1, 0, filter.length]), Buffer.from(filter), Buffer.from([1])]));
    expect((await answer(frozen))[0]).toBe(0x90);
    frozen.pause();
    const link = rig.link(DEVICE_A2);
    const inbox = new Inbox(link.subscribe([filter, downFilter(DEVICE_A2)]));
    await isUp(link);
    const payload = Buffer.alloc(MAX_PAYLOAD);
    const sends = Array.from({ length: 40 }, () => rig.broker.send(DEVICE_A, down(DEVICE_A, 'object'), payload, { qos: 0 }));
    const settled = Promise.allSettled(sends);
    await rig.broker.publish(announce(DEVICE_A, 'offer'), Buffer.from('all of you'));
    await rig.broker.send(DEVICE_A2, down(DEVICE_A2, 'offer'), Buffer.from('you alone'));
    await inbox.with('all of you');
    await inbox.with('you alone');
    expect(rig.broker.connected(DEVICE_A)).toBe(true);
    const results = await settled;
    expect(rig.broker.connected(DEVICE_A)).toBe(false);
    expect(results.at(-1)).toMatchObject({ status: 'rejected', reason: { code: 'CONNECTION_LOST' } });
  });

  it('8. a denied QoS 1 publish closes the connection and comes again for ever – it is acknowledged, kept from everybody, told to its sender and counted', async () => {
    await openRig();
    const inbox = new Inbox(rig.broker.subscribe(['#']));
    const refusals: unknown[] = [];
    rig.broker.onRefused((refusal) => refusals.push(refusal));
    const client = await rig.foreign(DEVICE_A);
    const notices: string[] = [];
    client.on('message', (topic, payload) => topic === down(DEVICE_A, 'refused') && notices.push(payload.toString()));
    const denied = up(DEVICE_B, 'statement');
    for (const qos of [0, 1, 2] as const) await client.publishAsync(denied, 'forged', { qos });
    await client.publishAsync(up(DEVICE_A, 'hello'), 'kept for later', { qos: 1, retain: true });
    await client.publishAsync(up(DEVICE_A, 'hello'), 'fine', { qos: 1 });
    await mark(client);
    expect(inbox.texts).toEqual(['fine']);
    expect(notices.map((notice) => JSON.parse(notice).code)).toEqual(['DENIED', 'DENIED', 'DENIED', 'DENIED']);
    expect(JSON.parse(notices[0] ?? '{}')).toMatchObject({ topic: denied });
    expect(refusals).toHaveLength(4);
    expect(refusals[0]).toEqual({ who: DEVICE_A, topic: denied, code: 'DENIED' });
    expect(client.connected).toBe(true);
  });

  it('8. after many refused publishes the connection is closed, all of them acknowledged', async () => {
    await openRig();
    const client = await rig.foreign(DEVICE_A);
    const ended = new Promise<void>((resolve) => client.once('close', () => resolve()));
    await Promise.all(Array.from({ length: MAX_REFUSED_PUBLISHES }, () => client.publishAsync(up(DEVICE_B, 'hello'), 'x', { qos: 1 })));
    await ended;
    await rig.log.seen('broker.closed_refused');
  });

  it('9. control characters are accepted in topics – a topic or filter with one is refused and does not get into the log', async () => {
    await openRig();
    const inbox = new Inbox(rig.broker.subscribe(['#']));
    const client = await rig.foreign(DEVICE_A);
    for (const character of ['\n', '\r', '\u0001', '\u007f', '\u009b', '\u2028', '\ufeff']) {
      await client.publishAsync(`${up(DEVICE_A, 'hello')}${character}`, 'x', { qos: 1 });
      await expect(client.subscribeAsync(`${down(DEVICE_A, 'offer')}${character}`)).rejects.toThrow();
    }
    await mark(client);
    expect(inbox.all).toEqual([]);
    const logged = rig.log.all('broker.refused');
    expect(logged).toHaveLength(14);
    for (const line of logged) expect(String(line['topic'])).not.toMatch(/[\p{Cc}\p{Cf}\u2028]/u);
  });

  it('10. a will is published when nobody can be asked – wills are refused at CONNECT', async () => {
    await openRig();
    const will = { topic: up(DEVICE_A, 'hello'), payload: Buffer.from('last words'), qos: 1, retain: false } as const;
    await expect(rig.foreign(DEVICE_A, { will })).rejects.toMatchObject({ code: 5 });
    expect(await rig.log.seen('broker.refused')).toMatchObject({ message: 'wills are not kept here' });
    expect(rig.broker.connected(DEVICE_A)).toBe(false);
  });
});
