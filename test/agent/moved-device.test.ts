import { cp, mkdtemp, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it, onTestFinished } from 'vitest';
import { loadCredentials } from '../../certs/credentials.ts';
import { systemClock } from '../../shared/base/clock.ts';
import { silentLog } from '../../shared/base/log.ts';
import { HttpsChunkSource } from '../../shared/net/chunk-client.ts';
import { DeviceRig } from '../support/device-rig.ts';
import { bytesOf } from '../support/files.ts';
import { type MadeRelease, madeRelease } from '../support/made-release.ts';
import { ScriptedGateway, Vendor } from '../support/scripted-gateway.ts';

const ct = { customer: 'acme', site: 'north', group: 'ct' };
const pumps = { ...ct, group: 'pumps' };
const viewer = madeRelease({ files: { VERSION: '1', engine: bytesOf('viewer', 200_000) } });
const newer = madeRelease({ version: '2.0.0', files: { VERSION: '2', engine: bytesOf('newer', 200_000) } });
const driver = madeRelease({ application: 'driver', files: { VERSION: 'd', engine: bytesOf('driver', 200_000) } });

let folder: string;
let vendor: Vendor;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'wardcast-moved-'));
  const devices = [
    { group: 'ct', device: 'ct-1' },
    { group: 'pumps', device: 'pump-1' },
    { group: 'pumps', device: 'pump-2' },
  ];
  vendor = await Vendor.create(folder, devices);
  vendor.publish(viewer, newer, driver);
}, 120_000);
afterAll(() => rm(folder, { recursive: true, force: true }));

describe('a device that moved to another group', () => {
  it('follows the bundles of its new group, however low they count, and hands nothing of the old group to the new one', async () => {
    const gateway = await ScriptedGateway.start(vendor);
    const device = await DeviceRig.create(vendor, 'ct-1', join(folder, 'device'), `127.0.0.1:${gateway.port}`);
    onTestFinished(async () => {
      await device.stop();
      await gateway.close();
    });
    const confirmed = ({ application, version }: MadeRelease): Promise<void> =>
      gateway.until(() => gateway.confirmations().some((c) => c.application === application && c.version === version && c.result === 'installed'));
    await device.start();
    await gateway.offer(vendor.assign(ct, [viewer]));
    await confirmed(viewer);
    await gateway.offer(vendor.assign(ct, [newer]));
    await confirmed(newer);
    await device.stop();

    await device.configure(vendor.credentials('pump-1'), `127.0.0.1:${gateway.port}`);
    const { port } = await device.start();
    await gateway.offer(vendor.assign(pumps, [driver]));
    await confirmed(driver);
    await device.log.seen('install.concluded');

    const neighbour = new HttpsChunkSource({
      host: '127.0.0.1',
      port,
      credentials: await loadCredentials(vendor.credentials('pump-2'), systemClock),
      expect: () => true,
      scope: pumps,
      log: silentLog,
      clock: systemClock,
    });
    onTestFinished(() => neighbour.close());
    for (const [hash, bytes] of driver.chunks) await expect.poll(async () => (await neighbour.get(hash).catch(() => undefined))?.equals(bytes)).toBe(true);
    for (const hash of newer.chunks.keys()) await expect(neighbour.get(hash)).rejects.toMatchObject({ code: 'OBJECT_ABSENT' });
    expect((await readdir(device.install)).sort()).toEqual(['driver', 'viewer']);
    expect(await device.runs('viewer', [viewer, newer])).toMatchObject({ version: '2.0.0' });
  });

  it('removes what only the old group’s bundle named where it is configured so, says so, and leaves alone what was installed by hand', async () => {
    const gateway = await ScriptedGateway.start(vendor);
    const device = await DeviceRig.create(vendor, 'ct-1', join(folder, 'removing'), `127.0.0.1:${gateway.port}`);
    onTestFinished(async () => {
      await device.stop();
      await gateway.close();
    });
    const confirmed = ({ application }: MadeRelease): Promise<void> =>
      gateway.until(() => gateway.confirmations().some((c) => c.application === application && c.result === 'installed'));
    await device.configure(vendor.credentials('ct-1'), `127.0.0.1:${gateway.port}`, 'left_behind = "remove"');
    await device.start();
    await gateway.offer(vendor.assign(ct, [viewer]));
    await confirmed(viewer);
    // Named no more is not left behind: only a move is.
    const empty = vendor.assign(ct, []);
    await gateway.offer(empty);
    await device.log.seen('trust.updated', (line) => line['sequence'] === empty.sequence);
    await device.stop();
    await cp(join(device.install, 'viewer'), join(device.install, 'by-hand'), { recursive: true });
    expect(await device.runs('viewer', [viewer, newer])).toMatchObject({ version: viewer.version });

    await device.configure(vendor.credentials('pump-1'), `127.0.0.1:${gateway.port}`, 'left_behind = "remove"');
    await device.start();
    await gateway.offer(vendor.assign(pumps, [driver]));
    await device.log.seen('install.left-behind-removed', (line) => line['application'] === 'viewer');
    await confirmed(driver);
    const stated = (): string[] | undefined =>
      gateway
        .inventories()
        .at(-1)
        ?.applications.map(({ application }) => application);
    await gateway.until(() => stated()?.includes('viewer') === false);
    expect(await device.runs('viewer', [viewer, newer])).toBeUndefined();
    expect(await readdir(join(device.install, 'by-hand'))).toContain('current');
  });
});
