import { readFile, truncate, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, expect, it } from 'vitest';
import { issueDevice } from '../../certs/pki-directory.ts';
import { sha256 } from '../../shared/bundle/digest.ts';
import { Vendor } from '../provider/provider-rig.ts';
import type { DeviceRig } from '../support/device-rig.ts';
import { bytesOf } from '../support/files.ts';
import { installed, WholeSite } from '../support/whole-site.ts';

/** An upgrade that crosses line and LAN as a patch, by the three roles themselves. */

const SIZE = 1_500_000;
/** A program that was built anew: hardly a chunk stays, and hardly a byte of each changes. */
function program(version: number): Buffer {
  const bytes = Buffer.from(bytesOf('program', SIZE));
  for (let at = 0; at < SIZE; at += 1000) bytes[at] = ((bytes[at] ?? 0) + version) & 0xff;
  return bytes;
}

let vendor: Vendor;
beforeAll(async () => {
  vendor = await Vendor.found();
  const out = join(vendor.directory, 'credentials', 'ct-3');
  await issueDevice({ directory: join(vendor.directory, 'pki'), out, customer: 'acme', site: 'north', group: 'ct', device: 'ct-3' });
});
afterAll(() => vendor.close());

const closing: (() => Promise<unknown>)[] = [];
afterEach(async () => {
  for (const close of closing.splice(0).reverse()) await close();
});

const fileOf = async (rig: DeviceRig): Promise<string> => join(rig.install, 'viewer', 'current', 'program.bin');
const digestOn = async (rig: DeviceRig): Promise<string> => sha256(await readFile(await fileOf(rig)));

/** Site with both devices on 1.0.0. */
async function onOne(encrypt: boolean): Promise<{ site: WholeSite; one: DeviceRig; two: DeviceRig }> {
  const site = await WholeSite.open(vendor, closing, { patches: true });
  const [one, two] = [await site.agent('ct-1'), await site.agent('ct-2')];
  await site.publish(await vendor.release('viewer', encrypt ? '1.0.0-sealed' : '1.0.0', program(1), encrypt));
  const version = encrypt ? '1.0.0-sealed' : '1.0.0';
  await Promise.all([installed(one, version), installed(two, version)]);
  return { site, one, two };
}

const unique = async (site: WholeSite): Promise<number> => {
  for (;;) {
    const told = (await site.ops.call('status', { customer: 'acme' })).sites[0]?.line?.unique;
    if (told !== undefined) return told;
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
};

async function sources(site: WholeSite, version: string): Promise<{ gateway: number; peer: number; own: number; patch: number }> {
  const { installations } = await site.ops.call('trace', { application: 'viewer', version });
  const sum = { gateway: 0, peer: 0, own: 0, patch: 0 };
  for (const row of installations) for (const source of ['gateway', 'peer', 'own', 'patch'] as const) sum[source] += row[source];
  return sum;
}

for (const encrypt of [false, true]) {
  it(`crosses the line and the LAN as a patch${encrypt ? ', sealed as the release is' : ''}, and the ledger says so`, async () => {
    const { site, one, two } = await onOne(encrypt);
    const before = site.log.all('relay.complete').length;
    const version = encrypt ? '1.1.0-sealed' : '1.1.0';
    await site.publish(await vendor.release('viewer', version, program(2), encrypt));
    await Promise.all([installed(one, version), installed(two, version)]);
    expect(await digestOn(one)).toBe(sha256(program(2)));
    expect(await digestOn(two)).toBe(sha256(program(2)));

    const [made] = site.log.all('patch.made');
    const bytes = Number(made?.['bytes']);
    expect(bytes).toBeLessThan(SIZE / 20);
    // All that the line brought for it: the patch.
    expect(
      site.log
        .all('relay.complete')
        .slice(before)
        .map((line) => line['pulled']),
    ).toEqual([bytes]);
    expect(site.log.all('serve.chunks-needed')).toEqual([]);
    const had = await sources(site, version);
    // The first chunk of a file or two may be as it was; the rest was made, and what crossed the LAN is two copies of the patch.
    expect(had.gateway + had.peer).toBe(2 * bytes);
    expect(had.patch).toBeGreaterThan(1.8 * SIZE - 2 * bytes);
    expect(had.gateway + had.peer + had.own + had.patch).toBeGreaterThanOrEqual(2 * Number(made?.['lacking']));
    expect((await site.ops.call('registry.check', {})).differences).toEqual([]);
  });
}

it('costs time and no correctness when an old file is damaged: what does not come out right is fetched, and the line carries that alone', async () => {
  const { site, one, two } = await onOne(false);
  // Like a bad disk: nobody noticed.
  const file = await fileOf(two);
  const bytes = await readFile(file);
  for (let at = 700_000; at < 700_400; at++) bytes[at] = 0;
  await writeFile(file, bytes);
  await site.publish(await vendor.release('viewer', '1.1.0', program(2)));
  await Promise.all([installed(one, '1.1.0'), installed(two, '1.1.0')]);
  expect(await digestOn(one)).toBe(sha256(program(2)));
  expect(await digestOn(two)).toBe(sha256(program(2)));
  // What the patch says is learnt from what came before it: what stands before the damage comes out right, the rest is fetched.
  const needed = site.log.all('serve.chunks-needed').reduce((sum, line) => sum + Number(line['bytes']), 0);
  expect(needed).toBeGreaterThan(0);
  expect(needed).toBeLessThan(SIZE - 500_000);
});

it('fetches the whole release for a device whose old file is cut short, and for one that comes later with nothing', async () => {
  const { site, one, two } = await onOne(false);
  await truncate(await fileOf(two), 1000);
  await site.publish(await vendor.release('viewer', '1.1.0', program(2)));
  await Promise.all([installed(one, '1.1.0'), installed(two, '1.1.0')]);
  expect(two.log.all('patch.failed').map(({ error }) => error)).toEqual([expect.objectContaining({ code: 'OBJECT_ABSENT' })]);
  expect(await digestOn(two)).toBe(sha256(program(2)));

  const three = await site.agent('ct-3');
  await site.ops.call('device.add', { customer: 'acme', site: 'north', group: 'ct', device: 'ct-3' });
  await installed(three, '1.1.0');
  expect(await digestOn(three)).toBe(sha256(program(2)));
  // Whoever asks, the line brings each byte once.
  expect(await unique(site)).toBeLessThan(2.2 * SIZE);
});

it('makes no patch where a device runs nothing yet, and none that would save too little', async () => {
  const site = await WholeSite.open(vendor, closing, { patches: true });
  const one = await site.agent('ct-1');
  await site.publish(await vendor.release('viewer', '2.0.0', bytesOf('first', 600_000)));
  await installed(one, '2.0.0');
  // ct-2 has not spoken: the gateway needs the whole release for it.
  await site.publish(await vendor.release('viewer', '2.1.0', Buffer.concat([bytesOf('first', 600_000), Buffer.from('more')])));
  await installed(one, '2.1.0');
  expect(one.log.all('patch.expanded')).toEqual([]);
  const two = await site.agent('ct-2');
  await installed(two, '2.1.0');
  await site.publish(await vendor.release('viewer', '3.0.0', bytesOf('another', 600_000)));
  await Promise.all([installed(one, '3.0.0'), installed(two, '3.0.0')]);
  expect(site.log.all('patch.not-worth-it').at(-1)).toMatchObject({ why: 'it would save too little' });
  expect(two.log.all('patch.expanded')).toEqual([]);
});
