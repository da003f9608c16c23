import { existsSync } from 'node:fs';
import { mkdir, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, onTestFinished, test } from 'vitest';
import { publisher, publishRelease } from '../../cli/publish.ts';
import type { ReadyRelease } from '../../cli/workspace.ts';
import { addToRole } from '../../provider/publish/release-role.ts';
import { systemClock } from '../../shared/base/clock.ts';
import { MAX_MISSING_NAMES, MAX_PAYLOAD } from '../../shared/base/limits.ts';
import { silentLog } from '../../shared/base/log.ts';
import { parseManifest } from '../../shared/bundle/manifest.ts';
import { cut, partsOf } from '../../shared/net/exchange/object-ref.ts';
import { ObjectPuller } from '../../shared/net/exchange/puller.ts';
import { OpsClient } from '../../shared/net/ops-client.ts';
import { readSigningKey } from '../../shared/trust/keys.ts';
import { madeRelease } from '../support/made-release.ts';
import { Operator, Uplinked, Vendor } from './provider-rig.ts';

const FILES = 12_000;
/** Different contents, and so chunks: more than the provider names in two answers. */
const CHUNKS = 2 * MAX_MISSING_NAMES + 200;
let vendor: Vendor;
let signed: ReadyRelease;
let manifest: Buffer;

/** In memory, so that the disk has only the provider's work. */
beforeAll(async () => {
  vendor = await Vendor.found();
  const [application, version] = ['viewer', '1.0.0'];
  const files = Array.from({ length: FILES }, (_, at) => [`lib/${at % 100}/module-${at}.txt`, `module ${at % CHUNKS}`]);
  const { bytes, chunks, manifestHash } = madeRelease({ application, version, files: Object.fromEntries(files) });
  manifest = bytes;
  const workspace = join(vendor.directory, 'workspace');
  await mkdir(join(workspace, 'metadata'), { recursive: true });
  const role = await addToRole({
    workspace,
    application,
    key: await readSigningKey(join(vendor.layout.offline, 'release-viewer.pem')),
    now: new Date(),
    release: { version, manifest: manifestHash, size: bytes.length },
  });
  const object = async (hash: string): Promise<Buffer> => chunks.get(hash) ?? bytes;
  signed = { application, version, manifest: manifestHash, role: role.bytes, contentKeys: [], object };
});
afterAll(() => vendor.close());

/** In memory where there is such a place: thousands of synced files say nothing here, and take their time on a disk. */
async function dataDirectory(): Promise<string> {
  const data = await mkdtemp(join(existsSync('/dev/shm') ? '/dev/shm' : tmpdir(), 'wardcast-provider-'));
  // Runs after what is registered later: the provider has ended by then.
  onTestFinished(() => rm(data, { recursive: true, force: true }));
  return data;
}

test('a release of many small files, with a manifest of several messages, goes into a real provider and its manifest out again', async () => {
  const data = await dataDirectory();
  const provider = await vendor.process(data);
  onTestFinished(() => provider.kill());
  await provider.start();
  const port = Number((await provider.logged((line) => line.event === 'ready'))['port']);
  const ops = await OpsClient.connect({ host: '127.0.0.1', port, credentials: vendor.credentials('ops'), log: silentLog, clock: systemClock });
  const gateway = new Uplinked(vendor.credentials('gateway'), port);
  onTestFinished(async () => {
    await ops.close();
    await gateway.close();
  });
  expect(manifest.length).toBeGreaterThan(2 * MAX_PAYLOAD);
  const told: string[] = [];
  const published = await publishRelease(publisher(ops), signed, { onProgress: (done, total) => told.push(`${done}/${total}`) });
  expect(published).toMatchObject({ manifest: signed.manifest, files: FILES, chunks: CHUNKS });
  expect(told.at(-1)).toBe(`${CHUNKS}/${CHUNKS}`);
  expect(await publishRelease(publisher(ops), signed)).toEqual(published);

  await ops.call('customer.add', { customer: 'acme' });
  await ops.call('site.add', { customer: 'acme', site: 'north' });
  await ops.call('group.add', { customer: 'acme', group: 'ct' });
  await ops.call('device.add', { customer: 'acme', site: 'north', group: 'ct', device: 'ct-1' });
  await ops.call('current.set', { customer: 'acme', group: 'ct', site: null, application: 'viewer', version: '1.0.0', allowDowngrade: false });
  await (await gateway.up()).hello();
  await gateway.hears((verb) => (verb === 'offer' ? verb : undefined));
  const puller = new ObjectPuller({ link: gateway.link, identity: gateway.credentials.identity, log: silentLog, clock: systemClock });
  const pulled = await puller.get({ group: 'ct', kind: 'target', name: signed.manifest });
  expect(pulled.equals(manifest)).toBe(true);
  const [last] = parseManifest(pulled).files.slice(-1);
  const chunk = last?.chunks[0];
  if (chunk === undefined) throw new Error('no chunk');
  expect((await puller.get({ group: 'ct', kind: 'chunk', name: chunk.hash })).toString()).toMatch(/^module \d+$/);
  puller.close();
});

test('a manifest whose upload broke off is forgotten, and comes whole the next time', async () => {
  const provider = await vendor.inProcess(await dataDirectory());
  onTestFinished(() => provider.close());
  const { application, version, manifest: hash, role } = signed;
  const params = { application, version, manifest: hash, role: role.toString('base64') };
  const connect = async (): Promise<Operator> => new Operator(vendor.credentials('ops'), provider.port).up();
  const first = await connect();
  expect(await first.call('release.offer', params)).toEqual({ missing: [hash], more: 0 });
  const parts = partsOf(manifest.length);
  const send = (from: Operator, part: number): Promise<void> => from.uploadPart({ hash, part, parts }, cut(manifest, part));
  for (let part = 0; part < parts - 1; part++) await send(first, part);
  await first.close();
  const second = await connect();
  onTestFinished(() => second.close());
  // What the first connection sent is gone: the part it did not send completes nothing.
  await send(second, parts - 1);
  expect(await second.call('release.offer', params)).toEqual({ missing: [hash], more: 0 });
  for (let part = 0; part < parts - 1; part++) await send(second, part);
  const { missing, more } = await second.call('release.offer', params);
  expect([missing.length, missing.length + more]).toEqual([MAX_MISSING_NAMES, CHUNKS]);
});
