import { readFile, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, expect, it } from 'vitest';
import { issueDevice } from '../../certs/pki-directory.ts';
import { parseBundle } from '../../shared/bundle/bundle.ts';
import { contentKeysIn } from '../../shared/bundle/group-key.ts';
import { Vendor } from '../provider/provider-rig.ts';
import { filesOf, installed, WholeSite } from '../support/whole-site.ts';

/** The whole way of an encrypted release, by the three roles themselves: who is entitled reads it, and nobody else, whatever he holds. */

const SECRET = 'the source of truth in ninety-nine lines';
const content = (version: string): Buffer => Buffer.from(`${version} ${SECRET}\n`.repeat(20_000));

let vendor: Vendor;
beforeAll(async () => {
  vendor = await Vendor.found();
  const directory = join(vendor.directory, 'pki');
  for (const [device, group] of [
    ['ct-3', 'ct'],
    ['pump-1', 'pumps'],
  ] as const) {
    await issueDevice({ directory, out: join(vendor.directory, 'credentials', device), customer: 'acme', site: 'north', group, device });
  }
});
afterAll(() => vendor.close());

const closing: (() => Promise<unknown>)[] = [];
afterEach(async () => {
  for (const close of closing.splice(0).reverse()) await close();
});

const publish = async (site: WholeSite, version: string): Promise<void> => site.publish(await vendor.release('viewer', version, content(version), true));

it('reaches the devices of its group readable and lies everywhere else as ciphertext; no device of another group gets a key, and no log', async () => {
  const site = await WholeSite.open(vendor, closing);
  const [one, two, pump] = await Promise.all(['ct-1', 'ct-2', 'pump-1'].map((name) => site.agent(name)));
  if (one === undefined || two === undefined || pump === undefined) throw new Error('no agents');
  await publish(site, '1.0.0');
  await Promise.all([installed(one, '1.0.0'), installed(two, '1.0.0')]);

  for (const rig of [one, two]) {
    const found: string[] = [];
    for await (const [name, bytes] of filesOf(rig.install)) if (bytes.includes(SECRET)) found.push(name);
    expect(found).not.toEqual([]);
    const file = join(rig.folder, 'data', 'group-key.json');
    expect((await stat(file)).mode & 0o777).toBe(0o600);
  }
  for (const folder of ['gateway', 'provider']) {
    let bytes = 0;
    for await (const [name, held] of filesOf(join(site.data, folder))) {
      bytes += held.length;
      expect(held.includes(SECRET), `${folder}/${name}`).toBe(false);
    }
    expect(bytes).toBeGreaterThan(10_000);
  }

  // The group's key and the release's, in every spelling, are nowhere but in the provider's vault and on the devices.
  const kept: { key: string } = JSON.parse(await readFile(join(one.folder, 'data', 'group-key.json'), 'utf8'));
  const { contentKeys } = await vendor.release('viewer', '1.0.0', content('1.0.0'), true);
  const spellings = [Buffer.from(kept.key, 'base64'), ...contentKeys].flatMap((key) => [
    key,
    Buffer.from(key.toString('base64')),
    Buffer.from(key.toString('hex')),
  ]);
  const holds = (bytes: Buffer): boolean => spellings.some((key) => bytes.includes(key));
  const secret: string[] = [];
  for (const folder of ['gateway', 'provider', 'pump-1'])
    for await (const [name, held] of filesOf(join(site.data, folder))) if (holds(held)) secret.push(`${folder}/${name}`);
  expect(secret.length).toBe(2);
  for (const name of secret) {
    expect(name).toMatch(/^provider\/secrets\/(content|group)\//);
    expect((await stat(join(site.data, name))).mode & 0o777).toBe(0o600);
  }
  const said = [site.log, one.log, two.log, pump.log].map((log) => JSON.stringify(log.lines)).join('\n');
  expect(holds(Buffer.from(said))).toBe(false);
  const entries = await site.ops.call('log.list', { from: 1, limit: 1000 });
  expect(holds(Buffer.from(JSON.stringify(entries)))).toBe(false);

  // Nothing names a key for the other group, and it never asked: what it would ask for is its own scope alone.
  expect(pump.log.all('key.asked')).toEqual([]);
  expect((await site.ops.call('registry.check', {})).differences).toEqual([]);
});

it('begins a new epoch when a device is revoked: the others read what comes then, and what the revoked one has opens none of it', async () => {
  const site = await WholeSite.open(vendor, closing);
  const [one, two] = [await site.agent('ct-1'), await site.agent('ct-2')];
  await publish(site, '1.0.0');
  await Promise.all([installed(one, '1.0.0'), installed(two, '1.0.0')]);
  const stolen: { epoch: number; key: string } = JSON.parse(await readFile(join(two.folder, 'data', 'group-key.json'), 'utf8'));
  expect(stolen.epoch).toBe(1);

  await site.ops.call('device.revoke', { customer: 'acme', device: 'ct-2', reason: 'stolen' });
  await one.log.seen('key.kept', (line) => line['epoch'] === 2);
  await publish(site, '1.1.0');
  await installed(one, '1.1.0');

  // It has listened and copied everything, bundle and chunks: they do not open.
  const rows = await site.ops.call('log.list', { from: 1, limit: 1000 });
  const bundles = rows.map(({ change }) => change).filter(({ type }) => type === 'bundle-assigned');
  const epochs = bundles.map((change) => JSON.parse(JSON.stringify(change)).groupKey.epoch);
  // A look that falls between the revocation's rows makes one bundle more, never one of the old epoch.
  expect(epochs).toEqual([...epochs].sort());
  expect([...new Set(epochs)]).toEqual([1, 2]);
  expect(epochs.filter((epoch) => epoch === 1)).toHaveLength(1);
  expect(two.log.all('key.kept').map((line) => line['epoch'])).toEqual([1]);
  const newest = await newestBundle(join(site.data, 'ct-1', 'data', 'trust'));
  const [release] = newest.releases;
  const open = (key: Buffer): number => contentKeysIn(newest, release?.manifest ?? '', () => key).size;
  const now: { key: string } = JSON.parse(await readFile(join(one.folder, 'data', 'group-key.json'), 'utf8'));
  expect(open(Buffer.from(now.key, 'base64'))).toBe(release?.keys?.length);
  expect(() => open(Buffer.from(stolen.key, 'base64'))).toThrow(expect.objectContaining({ code: 'KEY_UNUSABLE' }));
});

it('waits on a device whose certificate is good but that is not registered, which keeps what it runs and installs when it is registered', async () => {
  const site = await WholeSite.open(vendor, closing);
  await publish(site, '1.0.0');
  const known = await site.agent('ct-1');
  const rig = await site.agent('ct-3');
  await installed(known, '1.0.0');
  await rig.log.seen('install.retry-later', (line) => JSON.stringify(line['error']).includes('CONTENT_KEY_ABSENT'));
  await site.log.seen('key.refused', (line) => JSON.stringify(line['error']).includes('not registered'));
  expect(await rig.agent?.identity).toMatchObject({ device: 'ct-3' });
  expect(rig.log.all('key.kept')).toEqual([]);
  const barrier = async (device: string): Promise<unknown> =>
    (await site.ops.call('explain', { customer: 'acme', site: 'north', group: 'ct', device, application: 'viewer', version: '1.0.0' })).barriers.find(
      ({ barrier: name }) => name === 'encryption',
    );
  expect(await barrier('ct-3')).toMatchObject({ state: 'stands' });
  expect(await barrier('ct-1')).toMatchObject({ state: 'passes' });

  await site.ops.call('device.add', { customer: 'acme', site: 'north', group: 'ct', device: 'ct-3' });
  expect(await barrier('ct-3')).toMatchObject({ state: 'passes' });
  // A new connection asks at once.
  await rig.stop();
  await rig.start();
  await installed(rig, '1.0.0');
});

it('rotates the group’s key by order, on the record with its reason', async () => {
  const site = await WholeSite.open(vendor, closing);
  const one = await site.agent('ct-1');
  await publish(site, '1.0.0');
  await installed(one, '1.0.0');
  await site.ops.call('group.rotate-key', { customer: 'acme', group: 'ct', site: null, reason: 'an engineer left' });
  await one.log.seen('key.kept', (line) => line['epoch'] === 2);
  await site.ops.call('group.rotate-key', { customer: 'acme', group: 'ct', site: 'north', reason: 'again' });
  await one.log.seen('key.kept', (line) => line['epoch'] === 3);
  // Retired: the device has left, too.
  await site.ops.call('device.remove', { customer: 'acme', device: 'ct-2' });
  await one.log.seen('key.kept', (line) => line['epoch'] === 4);
  const rows = await site.ops.call('log.list', { from: 1, limit: 1000 });
  expect(rows.map(({ change }) => change).filter(({ type }) => type === 'group-key-rotated')).toMatchObject([
    { site: null, reason: 'an engineer left' },
    { site: 'north', reason: 'again' },
  ]);
  expect((await site.ops.call('registry.check', {})).differences).toEqual([]);
  await expect(site.ops.call('group.rotate-key', { customer: 'acme', group: 'none', site: null, reason: 'x' })).rejects.toMatchObject({ code: 'NOT_FOUND' });
});

/** The newest bundle among trusted metadata on a disk. */
async function newestBundle(folder: string): Promise<ReturnType<typeof parseBundle>> {
  let newest: ReturnType<typeof parseBundle> | undefined;
  for await (const [, bytes] of filesOf(folder)) {
    try {
      const bundle = parseBundle(bytes);
      if (bundle.sequence > (newest?.sequence ?? 0)) newest = bundle;
    } catch {
      // Another file.
    }
  }
  if (newest === undefined) throw new Error('no bundle');
  return newest;
}
