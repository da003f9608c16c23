import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach, expect, onTestFinished, test } from 'vitest';
import { seal } from '../../certs/envelope.ts';
import type { Provider } from '../../provider/provider.ts';
import { systemClock } from '../../shared/base/clock.ts';
import { silentLog } from '../../shared/base/log.ts';
import { parseBundle } from '../../shared/bundle/bundle.ts';
import { sha256 } from '../../shared/bundle/digest.ts';
import { chunkSizes, parseManifest } from '../../shared/bundle/manifest.ts';
import { ObjectPuller } from '../../shared/net/exchange/puller.ts';
import { OpsClient, type OpsEvent } from '../../shared/net/ops-client.ts';
import { refreshGroupView } from '../../shared/trust/client.ts';
import { Offer } from '../../shared/wire/messages.ts';
import { Operator, Uplinked, Vendor } from './provider-rig.ts';
import { confirmation, inventory } from './statements.ts';

let vendor: Vendor;
let data = '';
let provider: Provider;
let ops: Operator;
let gateway: Uplinked;

beforeAll(async () => {
  vendor = await Vendor.found();
});
afterAll(() => vendor.close());
beforeEach(async () => {
  data = await mkdtemp(join(tmpdir(), 'wardcast-provider-'));
  provider = await vendor.inProcess(data);
  ops = await new Operator(vendor.credentials('ops'), provider.port).up();
  gateway = await new Uplinked(vendor.credentials('gateway'), provider.port).up();
});
afterEach(async () => {
  await ops.close();
  await gateway.close();
  await provider.close();
  await rm(data, { recursive: true, force: true });
});

function offer(sequence: number, group = 'ct'): Promise<unknown> {
  return gateway.hears((verb, payload) => {
    if (verb !== 'offer') return undefined;
    const parsed = Offer.parse(JSON.parse(payload.toString()));
    return parsed.group === group && parsed.sequence === sequence ? parsed : undefined;
  });
}

test('a release that becomes current is signed into a bundle, offered unasked, pulled over MQTT, and its confirmation updates the registry', async () => {
  await ops.founded();
  await gateway.hello();
  const release = await vendor.release('viewer', '1.0.0', 3_000_000);
  const published = await ops.publishRelease(release);
  expect(published.release).toMatchObject({ application: 'viewer', version: '1.0.0', manifest: release.manifest, files: 1, chunks: release.chunks });
  await ops.call('current.set', { customer: 'acme', group: 'ct', site: null, application: 'viewer', version: '1.0.0', allowDowngrade: false });
  await offer(1);

  const puller = new ObjectPuller({ link: gateway.link, identity: gateway.credentials.identity, log: silentLog, clock: systemClock });
  const pull = (kind: 'metadata' | 'target' | 'chunk', name: string): Promise<Buffer> => puller.get({ group: 'ct', kind, name });
  const absent = (error: unknown): undefined => {
    if (error instanceof Error && 'code' in error && error.code === 'OBJECT_ABSENT') return undefined;
    throw error;
  };
  const view = await refreshGroupView({
    directory: join(data, 'view'),
    factoryRoot: await readFile(join(vendor.layout.metadata, '1.root.json')),
    scope: { customer: 'acme', site: 'north', group: 'ct' },
    source: { metadata: (name) => pull('metadata', name).catch(absent), target: (name) => pull('target', name).catch(absent) },
    log: silentLog,
  });
  expect(view.bundle).toMatchObject({ sequence: 1, releases: [{ application: 'viewer', version: '1.0.0', manifest: release.manifest }] });
  const manifest = view.manifests.get(release.manifest);
  if (manifest === undefined) throw new Error('no manifest');
  const chunks = await Promise.all([...chunkSizes(manifest).keys()].map(async (hash) => ({ hash, bytes: await pull('chunk', hash) })));
  for (const { hash, bytes } of chunks) expect(sha256(bytes)).toBe(hash);
  await expect(puller.get({ group: 'pumps', kind: 'chunk', name: chunks[0]?.hash ?? '' })).rejects.toMatchObject({ code: 'OBJECT_ABSENT' });
  await puller.close();

  const before = await ops.call('status', {});
  expect(before.devices.map((row) => [row.device, row.currentVersion, row.customerVersion, row.state])).toEqual([
    ['ct-1', '1.0.0', null, 'unknown'],
    ['ct-2', '1.0.0', null, 'unknown'],
  ]);
  const receipt = await gateway.state(confirmation('ct-1', 1, { manifest: release.manifest }), vendor.credentials('ct-1'));
  expect(receipt).toMatchObject({ outcome: 'recorded', highest: 1 });
  const after = await ops.call('status', { device: 'ct-1' });
  expect(after.devices).toMatchObject([{ customerVersion: '1.0.0', state: 'up-to-date', result: 'installed', counter: 1 }]);
  const trace = await ops.call('trace', { application: 'viewer', version: '1.0.0', device: 'ct-1' });
  expect(trace.entries.map((entry) => entry.change.type)).toEqual(['release-published', 'current-set', 'bundle-assigned', 'statement']);
  expect(trace.entries.at(-1)).toMatchObject({ sequence: receipt.entry?.sequence, hash: receipt.entry?.hash });
  expect(await ops.call('registry.check', {})).toMatchObject({ differences: [] });
});

test('a reconnecting gateway is offered what there is, and drift that an inventory shows is offered again', async () => {
  await ops.founded();
  await ops.publishRelease(await vendor.release('driver', '1.0.0'));
  await ops.call('current.set', { customer: 'acme', group: 'ct', site: null, application: 'driver', version: '1.0.0', allowDowngrade: false });
  await expect.poll(async () => (await ops.call('status', {})).sites[0]?.groups[0]?.sequence, { timeout: 30_000 }).toBe(1);
  await gateway.hello([{ group: 'ct', sequence: 0 }]);
  await offer(1);
  gateway.heard.length = 0;
  expect(await gateway.state(inventory('ct-1', 1, { driver: '0.9.0' }), vendor.credentials('ct-1'))).toMatchObject({ outcome: 'recorded' });
  await offer(1);
  expect((await ops.call('status', { device: 'ct-1' })).devices).toMatchObject([{ customerVersion: '0.9.0', currentVersion: '1.0.0', state: 'due' }]);
});

test('a withdrawn release leaves the bundle and is named in it as withdrawn', async () => {
  await ops.founded();
  await gateway.hello();
  const first = await ops.publishRelease(await vendor.release('driver', '2.0.0'));
  const set = (version: string | null): Promise<unknown> =>
    ops.call('current.set', { customer: 'acme', group: 'ct', site: null, application: 'driver', version, allowDowngrade: false });
  await set('2.0.0');
  await offer(1);
  await ops.call('release.withdraw', { application: 'driver', version: '2.0.0', reason: 'it stops the pump' });
  await offer(2);
  const puller = new ObjectPuller({ link: gateway.link, identity: gateway.credentials.identity, log: silentLog, clock: systemClock });
  const entries = await ops.call('log.list', { from: 1, limit: 100 });
  const bundleHash = entries.findLast((entry) => entry.change.type === 'bundle-assigned')?.change['bundle'];
  const bundle = parseBundle(await puller.get({ group: 'ct', kind: 'target', name: String(bundleHash) }));
  expect(bundle).toMatchObject({ sequence: 2, releases: [], withdrawn: [{ application: 'driver', manifest: first.release?.manifest }] });
  await puller.close();
  await expect(set('2.0.0')).rejects.toMatchObject({ code: 'CONFLICT' });
});

test('what nobody offered is not stored, and a role that the release key did not sign is refused', async () => {
  const bytes = Buffer.from('anything');
  await ops.upload(sha256(bytes), bytes);
  expect((await ops.log.seen('link.publish_refused'))['notice']).toContain('"DENIED"');
  const release = await vendor.release('viewer', '3.0.0');
  const params = { application: 'driver', version: '3.0.0', manifest: release.manifest, role: release.role.toString('base64') };
  await expect(ops.call('release.offer', params)).rejects.toMatchObject({ code: 'METADATA_UNTRUSTED' });
});

test('requests are checked: unknown actions, bad parameters, things that do not exist, and controls in names', async () => {
  await expect(ops.call('customer.add', { customer: 'acme', name: 'a\u001b[31m' })).rejects.toMatchObject({ code: 'USAGE' });
  await expect(ops.call('site.add', { customer: 'nobody', site: 'north' })).rejects.toMatchObject({ code: 'NOT_FOUND' });
  await ops.call('customer.add', { customer: 'acme' });
  await expect(ops.call('customer.add', { customer: 'acme' })).rejects.toMatchObject({ code: 'CONFLICT' });
  const [entry] = await ops.call('log.list', { from: 1, limit: 10 });
  expect(entry).toMatchObject({ sequence: 1, actor: 'ops/alice', change: { type: 'customer-added', customer: 'acme' } });
});

test('what gateways report is kept over a restart, and is no part of the log', async () => {
  await ops.founded();
  const head = (await ops.call('registry.check', {})).entries;
  const seen = {
    instance: '3f0d7d3e-2f0a-4a7e-9a39-6b1f2b4b2f10',
    address: '10.0.0.7',
    port: 9000,
    identity: { group: 'ct', device: 'ct-1' },
    connected: true,
  };
  const at = '2026-01-02T03:04:05.000Z';
  await gateway.say('seen', {
    devices: [{ ...seen, firstSeen: at, lastSeen: at }],
    line: { received: 1234, unique: 1000 },
    content: { gateway: 1500, bundles: [] },
  });
  await gateway.say('progress', { group: 'ct', sequence: 7, phase: 'relayed', total: 1, done: 1, sources: { line: 1, gateway: 0, peer: 0, own: 0 } });
  await ops.close();
  await gateway.close();
  await provider.close();
  provider = await vendor.inProcess(data);
  ops = await new Operator(vendor.credentials('ops'), provider.port).up();
  gateway = await new Uplinked(vendor.credentials('gateway'), provider.port).up();
  expect(await ops.call('device.seen', {})).toEqual([{ customer: 'acme', site: 'north', ...seen, firstSeen: at, lastSeen: at }]);
  expect((await ops.call('status', {})).sites).toMatchObject([
    { site: 'north', connected: false, line: { received: 1234, unique: 1000 }, sent: 1500, copies: 1.5 },
  ]);
  expect(await ops.call('registry.check', {})).toMatchObject({ entries: head, differences: [] });
});

test('a device of which a gateway hears two processes in turns raises an alarm, once each time', async () => {
  await ops.founded();
  const device = {
    instance: '3f0d7d3e-2f0a-4a7e-9a39-6b1f2b4b2f10',
    address: '10.0.0.7',
    port: 9000,
    identity: { group: 'ct', device: 'ct-1' },
    connected: true,
    firstSeen: '2026-01-02T03:04:05.000Z',
    lastSeen: '2026-01-02T03:04:05.000Z',
  };
  const say = (contradicted: string): Promise<void> =>
    gateway.say('seen', { devices: [{ ...device, contradicted }], line: { received: 0, unique: 0 }, content: { gateway: 0, bundles: [] } });
  const alarm = async (): Promise<unknown> => (await ops.call('status', {})).alarms;
  await say('2026-01-02T03:04:06.000Z');
  await say('2026-01-02T03:04:06.000Z');
  const about = { type: 'clone-suspected', customer: 'acme', site: 'north', device: 'ct-1', message: expect.stringContaining('10.0.0.7') };
  await expect.poll(alarm).toMatchObject([{ ...about, count: 1 }]);
  expect((await ops.call('device.seen', {}))[0]).toMatchObject({ contradicted: '2026-01-02T03:04:06.000Z' });
  await say('2026-01-02T03:05:00.000Z');
  await expect.poll(alarm).toMatchObject([{ ...about, count: 2 }]);
});

test('whose clock is wrong stands in the status, until it is right again', async () => {
  await ops.founded();
  const device = {
    instance: '3f0d7d3e-2f0a-4a7e-9a39-6b1f2b4b2f10',
    address: '10.0.0.7',
    port: 9000,
    identity: { group: 'ct', device: 'ct-1' },
    connected: true,
    firstSeen: '2026-01-02T03:04:05.000Z',
    lastSeen: '2026-01-02T03:04:05.000Z',
  };
  const say = (clock: { clock?: number }, own: { clock?: number }): Promise<void> =>
    gateway.say('seen', { devices: [{ ...device, ...clock }], ...own, line: { received: 0, unique: 0 }, content: { gateway: 0, bundles: [] } });
  const clocks = async (filter = {}): Promise<unknown> => (await ops.call('status', filter)).clocks;
  await say({ clock: -7200 }, { clock: 600 });
  const off = { customer: 'acme', site: 'north', group: 'ct', device: 'ct-1', seconds: -7200 };
  await expect.poll(clocks).toEqual([{ ...off, group: null, device: null, seconds: 600 }, off]);
  expect(await clocks({ device: 'ct-1' })).toEqual([off]);
  await say({}, {});
  await expect.poll(clocks).toEqual([]);
});

test('a release larger than the credit window crosses the line once, object by object, while a second pull of the same is shared', async () => {
  await ops.founded();
  await gateway.hello();
  const release = await vendor.release('viewer', '4.0.0', 20_000_000);
  await ops.publishRelease(release);
  await ops.call('current.set', { customer: 'acme', group: 'ct', site: null, application: 'viewer', version: '4.0.0', allowDowngrade: false });
  await offer(1);
  const puller = new ObjectPuller({ link: gateway.link, identity: gateway.credentials.identity, log: silentLog, clock: systemClock });
  const sizes = chunkSizes(parseManifest(await puller.get({ group: 'ct', kind: 'target', name: release.manifest })));
  const before = gateway.link.traffic().received;
  const pull = (hash: string, size: number): Promise<Buffer> => puller.get({ group: 'ct', kind: 'chunk', name: hash }, { size });
  const pulled = await Promise.all([...sizes].flatMap(([hash, size]) => [pull(hash, size), pull(hash, size)]));
  const received = gateway.link.traffic().received - before;
  const content = [...sizes.values()].reduce((sum, size) => sum + size, 0);
  expect(content).toBe(20_000_000);
  expect(new Set(pulled.map(sha256))).toEqual(new Set(sizes.keys()));
  expect(received / content).toBeLessThan(1.03);
  await puller.close();
});

test('events tell ops of every change, of recorded and of refused statements', async () => {
  // One connection per identity: the newer one takes over.
  await ops.close();
  const client = await OpsClient.connect({
    host: '127.0.0.1',
    port: provider.port,
    credentials: vendor.credentials('ops'),
    log: silentLog,
    clock: systemClock,
  });
  onTestFinished(() => client.close());
  const told: OpsEvent[] = [];
  void (async () => {
    for await (const event of client.events()) told.push(event);
  })();
  // Events are heard from the subscription on: the first answered request proves that it stands.
  let tries = 0;
  const heardOne = async (): Promise<number> => {
    await client.call('customer.add', { customer: `try-${tries++}` });
    return told.length;
  };
  await expect.poll(heardOne, { timeout: 30_000 }).toBeGreaterThan(0);
  await client.call('customer.add', { customer: 'acme' });
  await client.call('site.add', { customer: 'acme', site: 'north' });
  await client.call('group.add', { customer: 'acme', group: 'ct' });
  await client.call('device.add', { customer: 'acme', site: 'north', group: 'ct', device: 'ct-1' });
  await gateway.state(confirmation('ct-1', 1), vendor.credentials('ct-1'));
  await gateway.say('statement', seal(Buffer.from(JSON.stringify(confirmation('ct-1', 2))), vendor.credentials('ct-2')));
  await expect
    .poll(() => new Set(told.map((event) => event.type)), { timeout: 30_000 })
    .toEqual(new Set(['registry-changed', 'statement-recorded', 'statement-refused']));
  const recorded = told.find((event) => event.type === 'statement-recorded');
  expect(recorded?.body).toMatchObject({ customer: 'acme', site: 'north', group: 'ct', device: 'ct-1', counter: 1, type: 'confirmation', result: 'installed' });
  expect(told.find((event) => event.type === 'statement-refused')?.body).toMatchObject({ code: 'STATEMENT_FORGED' });
});
