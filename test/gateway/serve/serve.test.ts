import { randomUUID } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, it, onTestFinished } from 'vitest';
import type { Gateway } from '../../../gateway/gateway.ts';
import { systemClock } from '../../../shared/base/clock.ts';
import { MAX_OUTBOX_PER_DEVICE } from '../../../shared/base/limits.ts';
import { silentLog } from '../../../shared/base/log.ts';
import { createBonjourDiscovery } from '../../../shared/net/bonjour.ts';
import type { Delivery, Link } from '../../../shared/net/broker.ts';
import { ObjectPuller } from '../../../shared/net/exchange/puller.ts';
import { announce, announceFilter, down, downFilter, up } from '../../../shared/wire/topics.ts';
import { bytesOf } from '../../support/files.ts';
import {
  chunkSource,
  createTestPki,
  createTestSite,
  ct,
  deviceLink,
  deviceOf,
  pump,
  statementOf,
  type TestPki,
  type TestSite,
  untilUp,
} from '../../support/gateway-site.ts';
import { RecordingLog } from '../../support/recording-log.ts';
import { makeRelease, type TestRelease } from '../../support/scripted-provider.ts';

const MIB = 1024 * 1024;
let pki: TestPki;
beforeAll(async () => {
  pki = await createTestPki();
});
afterAll(() => pki.remove());

interface Ready {
  readonly site: TestSite;
  readonly gateway: Gateway;
  readonly viewer: TestRelease;
  readonly driver: TestRelease;
}

/** A gateway that holds a bundle for each of two groups. */
async function ready(): Promise<Ready> {
  const site = await createTestSite(pki);
  const viewer = makeRelease('viewer', '1.0.0', { lib: bytesOf('viewer', MIB) });
  const driver = makeRelease('driver', '1.0.0', { lib: bytesOf('driver', MIB) });
  site.provider.publish(viewer, driver);
  await site.provider.assign(ct, [viewer]);
  await site.provider.assign(pump, [driver]);
  const gateway = await site.start();
  await expect.poll(() => site.provider.progress.filter(({ phase }) => phase === 'relayed').length, { timeout: 30_000 }).toBe(2);
  return { site, gateway, viewer, driver };
}

/** Everything that a link hears, as it comes. */
function record(link: Link, filters: readonly string[]): Delivery[] {
  const heard: Delivery[] = [];
  void (async () => {
    for await (const delivery of link.subscribe(filters)) {
      heard.push(delivery);
      delivery.accept();
    }
  })();
  return heard;
}

const json = (value: unknown): Buffer => Buffer.from(JSON.stringify(value));
const hello = (instance = randomUUID(), port = 4711): Buffer => json({ version: '1.0.0', instance, port });

describe('a device of the site', () => {
  it('is told its bundle when it says hello, and gets all of it over https', async () => {
    const { gateway, viewer } = await ready();
    const credentials = await pki.device('ct-1');
    const link = deviceLink(gateway.port, credentials);
    const heard = record(link, [downFilter(credentials.identity)]);
    await untilUp(link);
    await link.publish(up(credentials.identity, 'hello'), hello());
    await expect.poll(() => heard.map(({ topic }) => topic)).toContain(down(credentials.identity, 'offer'));
    expect(JSON.parse(heard[0]?.payload.toString() ?? '')).toEqual({ group: 'ct', sequence: 1, timestampVersion: 1 });
    const source = chunkSource(gateway.port, credentials, ct);
    expect((await source.target(viewer.hash, { maxBytes: MIB }))?.equals(viewer.bytes)).toBe(true);
    for (const [hash, bytes] of viewer.chunks) expect((await source.get(hash)).equals(bytes)).toBe(true);
  });

  it('gets all of it over MQTT, where only the broker can be reached', async () => {
    const { gateway, viewer } = await ready();
    const credentials = await pki.device('ct-1');
    const link = deviceLink(gateway.port, credentials);
    const puller = new ObjectPuller({ link, identity: credentials.identity, log: silentLog, clock: systemClock });
    await untilUp(link);
    const get = (kind: 'metadata' | 'target' | 'chunk', name: string): Promise<Buffer> => puller.get({ group: 'ct', kind, name });
    expect(JSON.parse((await get('metadata', 'timestamp.json')).toString()).signed.version).toBe(1);
    expect((await get('target', viewer.hash)).equals(viewer.bytes)).toBe(true);
    for (const [hash, bytes] of viewer.chunks) expect((await get('chunk', hash)).equals(bytes)).toBe(true);
    puller.close();
  });

  it('has its progress passed on to the provider, and nobody else’s in its name', async () => {
    const { site, gateway } = await ready();
    const credentials = await pki.device('ct-1');
    const link = deviceLink(gateway.port, credentials);
    await untilUp(link);
    const progress = { group: 'ct', device: 'ct-1', application: 'viewer', version: '1.0.0', sequence: 1, phase: 'fetching', total: 10, done: 5 };
    const sources = { line: 0, gateway: 5, peer: 0, own: 0 };
    await link.publish(up(credentials.identity, 'progress'), json({ ...progress, device: 'ct-2', sources }));
    await link.publish(up(credentials.identity, 'progress'), json({ ...progress, sources }));
    await link.publish(up(credentials.identity, 'progress'), Buffer.from('{"nonsense'));
    await expect.poll(() => site.provider.progress.some(({ device, phase }) => device === 'ct-1' && phase === 'fetching')).toBe(true);
    expect(site.provider.progress.filter(({ device }) => device === 'ct-2')).toEqual([]);
    expect(link.state).toBe('up');
  });
});

describe('a device of another group', () => {
  it('gets neither metadata nor manifests nor chunks from the chunk server, and no other answer than for what does not exist', async () => {
    const { gateway, viewer } = await ready();
    const thief = chunkSource(gateway.port, await pki.device('pump-1'), ct);
    expect(await thief.metadata('timestamp.json', { maxBytes: MIB })).toBeUndefined();
    expect(await thief.target(viewer.hash, { maxBytes: MIB })).toBeUndefined();
    for (const hash of viewer.chunks.keys()) await expect(thief.get(hash)).rejects.toMatchObject({ code: 'OBJECT_ABSENT' });
    // Nor as part of its own bundle: a hash is no permission.
    const own = chunkSource(gateway.port, await pki.device('pump-1'), pump);
    for (const hash of viewer.chunks.keys()) await expect(own.get(hash)).rejects.toMatchObject({ code: 'OBJECT_ABSENT' });
  });

  it('gets nothing by MQTT pull', async () => {
    const { gateway, viewer, driver } = await ready();
    const credentials = await pki.device('pump-1');
    const link = deviceLink(gateway.port, credentials);
    const puller = new ObjectPuller({ link, identity: credentials.identity, log: silentLog, clock: systemClock });
    await untilUp(link);
    const hash = [...viewer.chunks.keys()][0] ?? '';
    for (const group of ['ct', 'pump']) {
      await expect(puller.get({ group, kind: 'chunk', name: hash })).rejects.toMatchObject({ code: 'OBJECT_ABSENT' });
      await expect(puller.get({ group, kind: 'target', name: viewer.hash })).rejects.toMatchObject({ code: 'OBJECT_ABSENT' });
    }
    await expect(puller.get({ group: 'ct', kind: 'metadata', name: 'timestamp.json' })).rejects.toMatchObject({ code: 'OBJECT_ABSENT' });
    expect(await puller.get({ group: 'pump', kind: 'target', name: driver.hash })).toEqual(driver.bytes);
    puller.close();
  });

  it('hears nothing of the group whatever it subscribes to, and can say nothing in its name', async () => {
    const { site, gateway } = await ready();
    const credentials = await pki.device('pump-1');
    const victim = deviceOf(await pki.device('ct-1'));
    const thief = deviceLink(gateway.port, credentials);
    const heard = record(thief, [
      '#',
      'wardcast/#',
      announceFilter(ct),
      announce(ct, 'offer'),
      downFilter(victim),
      'wardcast/1/customer/acme/site/north/group/+/announce/offer',
    ]);
    await untilUp(thief);
    const honest = deviceLink(gateway.port, await pki.device('ct-1'));
    const offers = record(honest, [announceFilter(ct), downFilter(victim)]);
    await untilUp(honest);
    await thief.publish(up(victim, 'statement'), statementOf(await pki.device('ct-1'), 1).bytes);
    const before = site.provider.statements.length;
    const next = makeRelease('viewer', '2.0.0', { lib: bytesOf('viewer 2', 100_000) });
    site.provider.publish(next);
    await site.provider.assign(ct, [next]);
    await expect.poll(() => offers.length).toBeGreaterThan(0);
    // The thief may hear what is said to itself: that it was refused.
    expect(heard.filter(({ topic }) => !topic.startsWith('wardcast/1/customer/acme/site/north/group/pump/'))).toEqual([]);
    expect(site.provider.statements.length).toBe(before);
  });
});

describe('the door', () => {
  it('refuses devices of another site and of another customer, on both protocols', async () => {
    const { gateway } = await ready();
    for (const name of ['south-ct-1', 'globex-ct-1'] as const) {
      const credentials = await pki.device(name);
      const link = deviceLink(gateway.port, credentials);
      const reason = await new Promise<Error | undefined>((resolve) => link.onState((state, why) => state === 'down' && resolve(why)));
      expect(reason).toMatchObject({ code: 'CERT_WRONG_ROLE' });
      await expect(chunkSource(gateway.port, credentials, ct).get('0'.repeat(64))).rejects.toMatchObject({ code: 'CERT_REFUSED_BY_PEER' });
    }
  });
});

describe('statements', () => {
  it('go up, and the receipt comes down to the device', async () => {
    const { site, gateway } = await ready();
    const credentials = await pki.device('ct-1');
    const link = deviceLink(gateway.port, credentials);
    const heard = record(link, [downFilter(credentials.identity)]);
    await untilUp(link);
    const { statement, bytes } = statementOf(credentials, 7);
    await link.publish(up(credentials.identity, 'statement'), bytes);
    await expect.poll(() => site.provider.statements).toEqual([statement]);
    await expect.poll(() => heard.map(({ topic }) => topic)).toContain(down(credentials.identity, 'receipt'));
  });

  it('wait while the line is down, over a restart, and go up once it is up', async () => {
    const { site, gateway } = await ready();
    site.line.cut();
    const credentials = await pki.device('ct-1');
    const link = deviceLink(gateway.port, credentials);
    await untilUp(link);
    const made = [1, 2, 3].map((counter) => statementOf(credentials, counter));
    for (const { bytes } of made) await link.publish(up(credentials.identity, 'statement'), bytes);
    await link.close();
    await gateway.close();
    await site.start();
    site.line.restore();
    await expect.poll(() => site.provider.statements, { timeout: 30_000 }).toEqual(made.map(({ statement }) => statement));
  });

  it('go up again at the next connect until a receipt comes', async () => {
    const { site, gateway } = await ready();
    site.provider.receipts = false;
    const credentials = await pki.device('ct-1');
    const link = deviceLink(gateway.port, credentials);
    await untilUp(link);
    const { bytes } = statementOf(credentials, 1);
    await link.publish(up(credentials.identity, 'statement'), bytes);
    await expect.poll(() => site.provider.statements.length).toBe(1);
    site.provider.receipts = true;
    site.line.cut();
    site.line.restore();
    await expect.poll(() => site.provider.statements.length, { timeout: 30_000 }).toBe(2);
    await new Promise((resolve) => setTimeout(resolve, 200));
    site.line.cut();
    site.line.restore();
    await expect.poll(() => site.provider.hellos.length, { timeout: 30_000 }).toBe(3);
    await new Promise((resolve) => setTimeout(resolve, 200));
    expect(site.provider.statements.length).toBe(2);
  });

  it('that a device brings for another are refused', async () => {
    const { site, gateway } = await ready();
    const credentials = await pki.device('ct-1');
    const link = deviceLink(gateway.port, credentials);
    await untilUp(link);
    await link.publish(up(credentials.identity, 'statement'), statementOf(await pki.device('ct-2'), 1).bytes);
    const { statement, bytes } = statementOf(credentials, 1);
    await link.publish(up(credentials.identity, 'statement'), bytes);
    await expect.poll(() => site.provider.statements).toEqual([statement]);
  });
});

describe('statements of a device that talks too much', () => {
  it('are refused beyond its share as long as no receipts come, with a notice, and those of others are kept', async () => {
    const { site, gateway } = await ready();
    site.provider.receipts = false;
    const credentials = await pki.device('ct-1');
    const log = new RecordingLog();
    const link = deviceLink(gateway.port, credentials, log);
    record(link, [downFilter(credentials.identity)]);
    await untilUp(link);
    const made = Array.from({ length: MAX_OUTBOX_PER_DEVICE + 2 }, (_, n) => statementOf(credentials, n + 1));
    await Promise.all(made.map(({ bytes }) => link.publish(up(credentials.identity, 'statement'), bytes)));
    await expect.poll(() => log.all('link.publish_refused').map(({ notice }) => JSON.parse(String(notice)).code)).toEqual(['BUSY', 'BUSY']);
    const other = await pki.device('ct-2');
    const honest = deviceLink(gateway.port, other);
    await untilUp(honest);
    const { statement, bytes } = statementOf(other, 1);
    await honest.publish(up(other.identity, 'statement'), bytes);
    await expect.poll(() => site.provider.statements).toContainEqual(statement);
  });
});

describe('statements that nobody signed', () => {
  it('are not kept: no receipt would ever clear them away, and the outbox is for all devices of the site', async () => {
    const { site, gateway } = await ready();
    const credentials = await pki.device('ct-1');
    const link = deviceLink(gateway.port, credentials);
    await untilUp(link);
    const { statement, bytes } = statementOf(credentials, 2);
    const made = JSON.parse(statementOf(credentials, 1).bytes.toString());
    const { signature } = JSON.parse(bytes.toString());
    await link.publish(up(credentials.identity, 'statement'), json({ ...made, signature }));
    const { chain } = JSON.parse(statementOf(await pki.device('ct-2'), 1).bytes.toString());
    await link.publish(up(credentials.identity, 'statement'), json({ ...made, chain }));
    await link.publish(up(credentials.identity, 'statement'), bytes);
    await expect.poll(() => site.provider.statements).toEqual([statement]);
  });
});

describe('the devices seen', () => {
  it('are reported as not enrolled while they only advertise, and proven once they connect; peers are told to their own group alone', async () => {
    const { site, gateway } = await ready();
    const lan = createBonjourDiscovery({ interface: '127.0.0.1', log: silentLog, clock: systemClock });
    onTestFinished(() => lan.close());
    const instance = randomUUID();
    await lan.advertise({ kind: 'agent', port: 4711, instance });
    const entry = (): unknown => site.provider.seen.at(-1)?.devices.find((device) => device.instance === instance);
    await expect.poll(entry, { timeout: 30_000 }).toMatchObject({ identity: null, connected: false, port: 4711 });

    const mine = await pki.device('ct-1');
    const other = await pki.device('pump-1');
    const link = deviceLink(gateway.port, mine);
    const stranger = deviceLink(gateway.port, other);
    const peers = record(link, [announce(ct, 'peers')]);
    const strange = record(stranger, [announce(pump, 'peers')]);
    await Promise.all([untilUp(link), untilUp(stranger)]);
    await link.publish(up(mine.identity, 'hello'), hello(instance, 4711));
    await stranger.publish(up(other.identity, 'hello'), hello(randomUUID(), 4712));
    await expect.poll(entry).toMatchObject({ identity: { group: 'ct', device: 'ct-1' }, connected: true, address: '127.0.0.1' });
    await expect.poll(() => peers.length).toBeGreaterThan(0);
    expect(JSON.parse(peers.at(-1)?.payload.toString() ?? '')).toEqual({ peers: [{ address: '127.0.0.1', port: 4711 }] });
    await expect.poll(() => strange.length).toBeGreaterThan(0);
    expect(JSON.parse(strange.at(-1)?.payload.toString() ?? '')).toEqual({ peers: [{ address: '127.0.0.1', port: 4712 }] });
    await link.close();
    await expect.poll(entry).toMatchObject({ identity: { group: 'ct', device: 'ct-1' }, connected: false });
  });
});
