import { spawn } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { createSocket, type Socket } from 'node:dgram';
import { once } from 'node:events';
import { setTimeout as sleep } from 'node:timers/promises';
import { describe, expect, it, onTestFinished } from 'vitest';
import { systemClock } from '../../../shared/base/clock.ts';
import { isWardcastError } from '../../../shared/base/errors.ts';
import { MAX_DISCOVERED, MAX_DISCOVERED_PER_ADDRESS } from '../../../shared/base/limits.ts';
import { silentLog } from '../../../shared/base/log.ts';
import { createBonjourDiscovery } from '../../../shared/net/bonjour.ts';
import type { Advertised, Discovery } from '../../../shared/net/discovery.ts';
import { lanInterface } from '../../../shared/net/lan-interface.ts';
import { parseAdverts, printAdvert } from '../../../shared/net/mdns-records.ts';
import { Sightings } from '../../../shared/net/sightings.ts';
import { discoveryContract, watch } from '../../contract/discovery.contract.ts';
import { ManualClock } from '../../support/manual-clock.ts';
import { SimulatedLan } from '../../support/simulated-lan.ts';

/** Real mDNS on loopback, in a hurry. */
function bonjour(log = silentLog): Discovery {
  const discovery = createBonjourDiscovery({ interface: '127.0.0.1', log, clock: systemClock, intervals: { searching: 50, found: 100, ttl: 400 } });
  onTestFinished(() => discovery.close());
  return discovery;
}

async function rawSocket(): Promise<Socket> {
  const socket = createSocket({ type: 'udp4', reuseAddr: true });
  await new Promise<void>((resolve) => socket.bind(5353, '0.0.0.0', resolve));
  socket.setMulticastInterface('127.0.0.1');
  socket.setMulticastLoopback(true);
  onTestFinished(() => new Promise<void>((resolve) => socket.close(() => resolve())));
  return socket;
}

/** mDNS responses by hand: enough of RFC 1035 for a PTR, an SRV and a TXT record. */
function packet(service: string, name: string, port: number, texts: readonly string[]): Buffer {
  const dns = (text: string): Buffer =>
    Buffer.concat([...text.split('.').map((label) => Buffer.concat([Buffer.from([label.length]), Buffer.from(label)])), Buffer.from([0])]);
  const record = (owner: string, type: number, data: Buffer): Buffer => {
    const head = Buffer.alloc(10);
    head.writeUInt16BE(type, 0);
    head.writeUInt16BE(1, 2);
    head.writeUInt32BE(120, 4);
    head.writeUInt16BE(data.length, 8);
    return Buffer.concat([dns(owner), head, data]);
  };
  const srv = Buffer.alloc(6);
  srv.writeUInt16BE(port, 4);
  const txt = Buffer.concat(texts.map((text) => Buffer.concat([Buffer.from([text.length]), Buffer.from(text)])));
  const full = `${name}.${service}`;
  const header = Buffer.from([0, 0, 0x84, 0, 0, 0, 0, 3, 0, 0, 0, 0]);
  return Buffer.concat([header, record(service, 12, dns(full)), record(full, 33, Buffer.concat([srv, dns('host.local')])), record(full, 16, txt)]);
}

/** A process of its own, that can be killed. */
async function mortal(what: Advertised): Promise<() => Promise<void>> {
  const module = (path: string): string => JSON.stringify(`${process.cwd()}/shared/${path}`);
  const program = `
    import { createBonjourDiscovery } from ${module('net/bonjour.ts')};
    import { systemClock } from ${module('base/clock.ts')};
    import { silentLog } from ${module('base/log.ts')};
    await createBonjourDiscovery({ interface: '127.0.0.1', log: silentLog, clock: systemClock }).advertise(${JSON.stringify(what)});
  `;
  const child = spawn(process.execPath, ['--input-type=module', '-e', program], { stdio: 'ignore' });
  const exited = once(child, 'exit');
  const kill = async (): Promise<void> => {
    child.kill('SIGKILL');
    await exited;
  };
  onTestFinished(kill);
  return kill;
}

discoveryContract('mDNS on loopback', async () => ({ host: () => bonjour(), address: '127.0.0.1', search: () => sleep(60), expire: () => sleep(150), mortal }));

discoveryContract('the simulated LAN', async () => {
  const lan = new SimulatedLan(new ManualClock());
  let hosts = 0;
  return {
    host: () => lan.host(`10.0.0.${++hosts}`),
    address: undefined,
    search: () => lan.clock.advance(61_000),
    expire: () => lan.clock.advance(120_000),
    mortal: async (what) => {
      const host = lan.host(`10.0.0.${++hosts}`);
      await host.advertise(what);
      return async () => host.kill();
    },
  };
});

describe('mDNS', () => {
  it('survives a thousand junk adverts and still finds the true one', async () => {
    const socket = await rawSocket();
    const send = (bytes: Buffer): Promise<void> => new Promise((resolve) => socket.send(bytes, 5353, '224.0.0.251', () => resolve()));
    const { seen, has } = watch(bonjour(), 'gateway');
    await sleep(50);
    const service = '_wardcast-gw._tcp.local';
    const junk = [
      (): Buffer => Buffer.from(randomUUID()),
      (): Buffer => packet(service, 'not a uuid', 1, ['v=1', 'id=not a uuid']),
      (): Buffer => packet(service, randomUUID(), 0, ['v=1']),
      (): Buffer => packet(service, randomUUID(), 1, []),
      (): Buffer => packet(service, '../../etc', 99, ['v=1', 'id=../../etc']),
      (): Buffer => packet(service, 'x'.repeat(63), 99, ['v=1', `id=${'x'.repeat(63)}`]),
      (): Buffer => packet(service, randomUUID(), 99, ['v=2', `id=${randomUUID()}`]),
    ];
    for (let n = 0; n < 1000; n++) await send(junk[n % junk.length]?.() ?? Buffer.alloc(0));
    const forged: string = randomUUID();
    const instance: string = randomUUID();
    await bonjour().advertise({ kind: 'gateway', port: 8883, instance });
    while (!has('up', instance) || !has('up', forged)) {
      // A well-formed forgery is let in: only mTLS tells. (Again and again, for the burst fills socket buffers.)
      await send(packet(service, forged, 1234, ['v=1', `id=${forged}`]));
      await sleep(20);
    }
    expect(new Set(seen.map((sighting) => sighting.instance))).toEqual(new Set([instance, forged]));
  });

  it('says nothing of other interfaces, of the host or of what it serves', () => {
    const records = printAdvert({ kind: 'gateway', port: 8883, instance: 'f2b6cbb6-6f6d-4f3c-9a55-0c6f1d2f3a4b' }, '10.0.0.1');
    expect(records.filter(({ type }) => type === 'A').map(({ data }) => data)).toEqual(['10.0.0.1']);
    expect(JSON.stringify(records)).not.toMatch(/hostname|group|version/);
  });

  it('reads back what it writes, and a good-bye', () => {
    const what = { kind: 'agent', port: 7, instance: randomUUID() } as const;
    expect(parseAdverts({ answers: printAdvert(what, '10.0.0.1'), additionals: [] }, 'agent')).toEqual([{ instance: what.instance, port: 7 }]);
    expect(parseAdverts({ answers: printAdvert(what, '10.0.0.1', 0), additionals: [] }, 'agent')).toEqual([{ instance: what.instance, port: undefined }]);
    expect(parseAdverts({ answers: printAdvert(what, '10.0.0.1'), additionals: [] }, 'gateway')).toEqual([]);
    expect(parseAdverts({ answers: 'x' }, 'agent')).toEqual([]);
  });

  it('takes interfaces by name or address, and refuses what this machine has not', () => {
    expect(lanInterface('lo').address).toBe('127.0.0.1');
    expect(lanInterface('127.0.0.1').contains('127.3.2.1')).toBe(true);
    expect(lanInterface('127.0.0.1').contains('10.0.0.1')).toBe(false);
    for (const bad of ['0.0.0.0', '203.0.113.9', 'nope0', '::1', '']) {
      expect(() => lanInterface(bad), bad).toThrow(expect.toSatisfy((error) => isWardcastError(error, 'CONFIG_INVALID')));
    }
  });
});

describe('sightings', () => {
  it('are bounded', () => {
    const sightings = new Sightings();
    for (let n = 0; n < MAX_DISCOVERED + 1000; n++) sightings.heard({ instance: randomUUID(), address: `10.0.${n >> 8}.${n & 255}`, port: 1 }, 0);
    expect(sightings.size).toBe(MAX_DISCOVERED);
    sightings.expire(1);
    expect(sightings.size).toBe(0);
    expect(sightings.heard({ instance: randomUUID(), address: '10.0.0.1', port: 1 }, 2)).toBe(true);
  });

  it('take so many from one address, and still those from others', () => {
    const sightings = new Sightings();
    const hear = (instance: string, address: string): boolean => sightings.heard({ instance, address, port: 1 }, 0);
    const known = randomUUID();
    hear(known, '10.0.0.66');
    for (let n = 0; n < 1000; n++) hear(randomUUID(), '10.0.0.66');
    expect(sightings.size).toBe(MAX_DISCOVERED_PER_ADDRESS);
    expect(hear(randomUUID(), '10.0.0.1')).toBe(true);
    sightings.left(known, '10.0.0.66');
    expect(hear(randomUUID(), '10.0.0.66')).toBe(true);
    expect(hear(randomUUID(), '10.0.0.66')).toBe(false);
  });

  it('keep the true one when a forged advert names the same instance elsewhere', async () => {
    const sightings = new Sightings();
    const instance = randomUUID();
    sightings.heard({ instance, address: '10.0.0.1', port: 1 }, 0);
    sightings.heard({ instance, address: '10.0.0.66', port: 1 }, 0);
    sightings.left(instance, '10.0.0.66');
    const first = await sightings[Symbol.asyncIterator]().next();
    expect(first.value).toEqual({ type: 'up', instance, address: '10.0.0.1', port: 1 });
  });

  it.each([
    { instance: 'x', address: '10.0.0.1', port: 1 },
    { instance: 'f2b6cbb6-6f6d-4f3c-9a55-0c6f1d2f3a4b', address: 'evil.example', port: 1 },
    { instance: 'f2b6cbb6-6f6d-4f3c-9a55-0c6f1d2f3a4b', address: '10.0.0.1', port: 0 },
    { instance: 'f2b6cbb6-6f6d-4f3c-9a55-0c6f1d2f3a4b', address: '10.0.0.1', port: 65536 },
  ])('refuse $instance $address $port', (place) => {
    expect(new Sightings().heard(place, 0)).toBe(false);
  });
});
