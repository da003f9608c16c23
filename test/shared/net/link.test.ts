import { once } from 'node:events';
import net from 'node:net';
import tls, { type TLSSocket } from 'node:tls';
import { afterEach, beforeAll, describe, expect, it } from 'vitest';
import { systemClock } from '../../../shared/base/clock.ts';
import { isWardcastError } from '../../../shared/base/errors.ts';
import { MAX_PACKET, MAX_PAYLOAD, RECONNECT_MAX, RECONNECT_MIN } from '../../../shared/base/limits.ts';
import type { Link } from '../../../shared/net/broker.ts';
import { type LinkOptions, openLink } from '../../../shared/net/link.ts';
import { down, downFilter, UP_FILTERS, up } from '../../../shared/wire/topics.ts';
import { Workshop } from '../../support/bad-certificates.ts';
import { BrokerRig, credentialsOf, DEVICE_A, GATEWAY, isUp, whyDown } from '../../support/broker-rig.ts';
import { Inbox } from '../../support/deliveries.ts';
import { RecordingLog } from '../../support/recording-log.ts';

let workshop: Workshop;
const cleanups: (() => Promise<unknown> | unknown)[] = [];

beforeAll(async () => {
  workshop = await Workshop.open();
});
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).toReversed()) await cleanup();
});

async function openRig(): Promise<BrokerRig> {
  const rig = await BrokerRig.open(workshop);
  cleanups.push(() => rig[Symbol.asyncDispose]());
  return rig;
}

/** A broker of which every byte is scripted. */
async function scripted(onConnect: (socket: TLSSocket) => void): Promise<{ port: number; packets: Buffer[]; packet: (type: number) => Promise<Buffer> }> {
  const { keyPem, chainPem, rootPem } = workshop.leaf(GATEWAY);
  const packets: Buffer[] = [];
  const waiting = new Set<() => void>();
  const server = tls.createServer({ key: keyPem, cert: chainPem, ca: rootPem, requestCert: true, minVersion: 'TLSv1.3', ALPNProtocols: ['mqtt'] }, (socket) => {
    socket.on('error', () => undefined);
    let rest = Buffer.alloc(0);
    socket.on('data', (bytes) => {
      rest = Buffer.concat([rest, bytes]);
      // Short packets only: one length byte.
      for (let length = rest[1]; length !== undefined && rest.length >= length + 2; length = rest[1]) {
        const packet = rest.subarray(0, length + 2);
        rest = rest.subarray(length + 2);
        packets.push(packet);
        if (packet[0] === 0x10) socket.write(Buffer.from([0x20, 2, 0, 0]), () => onConnect(socket));
        if (packet[0] === 0x82) socket.write(Buffer.from([0x90, 3, packet[2] ?? 0, packet[3] ?? 0, 1]));
      }
      for (const wake of waiting) wake();
      waiting.clear();
    });
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  cleanups.push(() => server.close());
  const address = server.address();
  return {
    port: typeof address === 'object' && address !== null ? address.port : 0,
    packets,
    packet: async (type) => {
      for (;;) {
        const found = packets.find((packet) => packet[0] === type);
        if (found !== undefined) return found;
        await new Promise<void>((resolve) => waiting.add(resolve));
      }
    },
  };
}

function link(port: number, options: Partial<LinkOptions> = {}): Link {
  const made = openLink({
    host: '127.0.0.1',
    port,
    credentials: credentialsOf(workshop.leaf(DEVICE_A), DEVICE_A),
    expect: () => true,
    log: new RecordingLog(),
    clock: systemClock,
    ...options,
  });
  cleanups.push(() => made.close());
  return made;
}

function publishPacket(topic: string, payload: string, qos: 0 | 1, id = 1): Buffer {
  const head = Buffer.concat([
    Buffer.from([0, topic.length]),
    Buffer.from(topic),
    ...(qos === 1 ? [Buffer.from([id >> 8, id & 0xff])] : []),
    Buffer.from(payload),
  ]);
  expect(head.length).toBeLessThan(128);
  return Buffer.concat([Buffer.from([0x30 | (qos << 1), head.length]), head]);
}

const TOPIC = down(DEVICE_A, 'offer');

describe('A link', () => {
  it('acknowledges QoS 1 only when it is accepted, and reads on meanwhile', async () => {
    const broker = await scripted((socket) => {
      socket.write(publishPacket(TOPIC, 'one', 1, 0x1234));
      socket.write(publishPacket(TOPIC, 'two', 0));
      socket.write(publishPacket(TOPIC, 'three', 1, 7));
    });
    const dialled = link(broker.port);
    const inbox = new Inbox(dialled.subscribe([downFilter(DEVICE_A)]), { accept: false });
    const [one, , three] = await inbox.first(3);
    expect(inbox.texts).toEqual(['one', 'two', 'three']);
    three?.accept();
    expect([...(await broker.packet(0x40))]).toEqual([0x40, 2, 0, 7]);
    expect(broker.packets.filter((packet) => packet[0] === 0x40)).toHaveLength(1);
    one?.accept();
    one?.accept();
    while (broker.packets.filter((packet) => packet[0] === 0x40).length < 2) await new Promise((resolve) => setImmediate(resolve));
    expect(broker.packets.filter((packet) => packet[0] === 0x40).map((packet) => [...packet])).toEqual([
      [0x40, 2, 0, 7],
      [0x40, 2, 0x12, 0x34],
    ]);
  });

  it('can publish and be acknowledged while it has not accepted what it got', async () => {
    const rig = await openRig();
    new Inbox(rig.broker.subscribe([UP_FILTERS.device]));
    const device = rig.link(DEVICE_A);
    const inbox = new Inbox(device.subscribe([downFilter(DEVICE_A)]), { accept: false });
    await isUp(device);
    await Promise.all(Array.from({ length: 50 }, () => rig.broker.send(DEVICE_A, TOPIC, Buffer.from('x'))));
    await inbox.first(50);
    await device.publish(up(DEVICE_A, 'hello'), Buffer.from('still here'));
  });

  it('comes back by itself, with its subscriptions standing before it says so', async () => {
    const rig = await openRig();
    const device = rig.link(DEVICE_A, { random: () => 0 });
    const inbox = new Inbox(device.subscribe([downFilter(DEVICE_A)]));
    await isUp(device);
    for (let round = 0; round < 3; round++) {
      const why = whyDown(device);
      rig.broker.disconnect(DEVICE_A);
      expect(await why).toSatisfy((error) => isWardcastError(error, 'CONNECTION_LOST'));
      await isUp(device);
      await rig.broker.publish(TOPIC, Buffer.from(`round ${round}`));
      await inbox.with(`round ${round}`);
    }
    expect(inbox.texts).toEqual(['round 0', 'round 1', 'round 2']);
  });

  it('waits with full jitter, longer with every failure, up to a limit', async () => {
    const taken = net.createServer();
    taken.listen(0, '127.0.0.1');
    await once(taken, 'listening');
    const address = taken.address();
    const port = typeof address === 'object' && address !== null ? address.port : 0;
    taken.close();
    await once(taken, 'close');
    const waits: number[] = [];
    const enough = Promise.withResolvers<void>();
    const sleep = (ms: number, o?: { signal?: AbortSignal | undefined }): Promise<void> => {
      waits.push(ms);
      if (waits.length < 12) return Promise.resolve();
      enough.resolve();
      return new Promise((resolve) => o?.signal?.addEventListener('abort', () => resolve(), { once: true }));
    };
    link(port, { clock: { ...systemClock, sleep }, random: () => 0.5 });
    await enough.promise;
    expect(waits).toEqual(Array.from({ length: 12 }, (_, i) => 0.5 * Math.min(RECONNECT_MAX, RECONNECT_MIN * 2 ** i)));
  });

  it('keeps its back-off when connections do not last: two daemons with one identity do not storm', async () => {
    const broker = await scripted((socket) => socket.destroy());
    const waits: number[] = [];
    const enough = Promise.withResolvers<void>();
    const sleep = (ms: number, o?: { signal?: AbortSignal | undefined }): Promise<void> => {
      waits.push(ms);
      if (waits.length < 5) return Promise.resolve();
      enough.resolve();
      return new Promise((resolve) => o?.signal?.addEventListener('abort', () => resolve(), { once: true }));
    };
    link(broker.port, { clock: { ...systemClock, sleep }, random: () => 1 });
    await enough.promise;
    expect(waits).toEqual([250, 500, 1000, 2000, 4000]);
  });

  it('fails publishes at once when it is down, and those under way when it breaks', async () => {
    const rig = await openRig();
    rig.broker.subscribe([UP_FILTERS.device]);
    const device = rig.link(DEVICE_A, { random: () => 0.999 });
    await expect(device.publish(up(DEVICE_A, 'hello'), Buffer.from('early'))).rejects.toSatisfy((error) => isWardcastError(error, 'CONNECTION_LOST'));
    await isUp(device);
    const pending = device.publish(up(DEVICE_A, 'hello'), Buffer.from('never accepted'));
    pending.catch(() => undefined);
    setImmediate(() => rig.broker.disconnect(DEVICE_A));
    await expect(pending).rejects.toSatisfy((error) => isWardcastError(error, 'CONNECTION_LOST'));
    await expect(device.publish(up(DEVICE_A, 'hello'), Buffer.from('late'))).rejects.toSatisfy((error) => isWardcastError(error, 'CONNECTION_LOST'));
  });

  it('gives up a publish when its signal aborts', async () => {
    const rig = await openRig();
    rig.broker.subscribe([UP_FILTERS.device]);
    const device = await rig.linked(DEVICE_A);
    const controller = new AbortController();
    const pending = device.publish(up(DEVICE_A, 'hello'), Buffer.from('x'), { signal: controller.signal });
    controller.abort();
    await expect(pending).rejects.toSatisfy((error) => isWardcastError(error, 'ABORTED'));
  });

  it('hangs up on a broker that sends a packet over the limit', async () => {
    const broker = await scripted((socket) =>
      socket.write(Buffer.from([0x30, (MAX_PACKET & 0x7f) | 0x80, ((MAX_PACKET >> 7) & 0x7f) | 0x80, MAX_PACKET >> 14])),
    );
    const dialled = link(broker.port, { random: () => 0.999 });
    expect(await whyDown(dialled)).toSatisfy((error) => isWardcastError(error, 'PROTOCOL_VIOLATION'));
  });

  it('counts what crosses the line, encrypted, across reconnects', async () => {
    const rig = await openRig();
    new Inbox(rig.broker.subscribe([UP_FILTERS.device]));
    const device = rig.link(DEVICE_A, { random: () => 0 });
    const inbox = new Inbox(device.subscribe([downFilter(DEVICE_A)]));
    await isUp(device);
    const handshake = device.traffic();
    expect(handshake.received).toBeGreaterThan(1000);
    const payload = Buffer.alloc(MAX_PAYLOAD);
    await rig.broker.send(DEVICE_A, TOPIC, payload);
    await inbox.first(1);
    const { received } = device.traffic();
    expect(received - handshake.received).toBeGreaterThan(MAX_PAYLOAD);
    expect(received - handshake.received).toBeLessThan(1.01 * MAX_PAYLOAD);
    const why = whyDown(device);
    rig.broker.disconnect(DEVICE_A);
    await why;
    await isUp(device);
    expect(device.traffic().received).toBeGreaterThan(received + 1000);
    expect(device.traffic().sent).toBeGreaterThan(handshake.sent);
  });

  it('is closed by its signal, and then neither dials nor delivers', async () => {
    const rig = await openRig();
    const controller = new AbortController();
    const device = rig.link(DEVICE_A, { signal: controller.signal });
    const inbox = new Inbox(device.subscribe([downFilter(DEVICE_A)]));
    await isUp(device);
    controller.abort();
    await inbox.ended;
    await device.close();
    expect(device.state).toBe('down');
    await rig.log.seen('broker.disconnected');
  });

  it('logs a refused subscription and keeps the others', async () => {
    const rig = await openRig();
    const device = rig.link(DEVICE_A);
    const inbox = new Inbox(device.subscribe([downFilter(DEVICE_A)]));
    device.subscribe(['wardcast/1/event/#']);
    await isUp(device);
    await rig.linkLog.seen('link.subscription_refused');
    await rig.broker.publish(TOPIC, Buffer.from('heard'));
    await inbox.with('heard');
  });
});
