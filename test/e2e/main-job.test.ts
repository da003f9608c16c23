import { rm } from 'node:fs/promises';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { filesOf } from '../support/files.ts';
import { hashTree } from '../support/tree.ts';
import { World } from '../support/world.ts';

describe('from a signed release to the provider’s database', () => {
  let world: World;
  beforeAll(async () => {
    world = await World.create({
      plan: { acme: { north: { ct: ['ct-1', 'ct-2'], pump: ['pump-1'] }, south: { ct: ['ct-3'] } }, bert: { west: { ct: ['ct-9'] } } },
    });
    await world.start();
    await world.publish('viewer', '1.0.0', filesOf('viewer', '1.0.0', 3_000_000));
    await world.publish('driver', '1.0.0', filesOf('driver', '1.0.0', 400_000));
  });
  afterAll(async () => world?.close());

  /** The database beside the disks of the devices: the same versions, and every file as it was signed. */
  async function expectTruth(expected: Readonly<Record<string, Readonly<Record<string, string>>>>, trees: Readonly<Record<string, string>>): Promise<void> {
    const { devices } = await world.status();
    for (const [name, applications] of Object.entries(expected)) {
      const rows = Object.fromEntries(
        devices.filter((row) => row.device === name && row.customerVersion !== null).map((row) => [row.application, row.customerVersion]),
      );
      expect(rows, `database about ${name}`).toEqual(applications);
      for (const [application, version] of Object.entries(applications)) {
        const installed = await world.installed(world.device(name), application);
        expect(installed?.version, `${application} on ${name}`).toBe(version);
        const tree = trees[`${application}@${version}`];
        if (tree !== undefined) expect(installed?.files).toEqual(await hashTree(tree));
      }
    }
  }

  it('installs and records the release of each group once it becomes current, and nothing else', async () => {
    await world.setCurrent('acme', 'ct', 'viewer', '1.0.0');
    await world.setCurrent('acme', 'pump', 'driver', '1.0.0');
    await world.setCurrent('bert', 'ct', 'driver', '1.0.0');
    await world.untilUpToDate();
    await expectTruth(
      { 'ct-1': { viewer: '1.0.0' }, 'ct-2': { viewer: '1.0.0' }, 'pump-1': { driver: '1.0.0' }, 'ct-3': { viewer: '1.0.0' }, 'ct-9': { driver: '1.0.0' } },
      {},
    );
    expect(await world.installed(world.device('pump-1'), 'viewer')).toBeUndefined();
    expect(await world.installed(world.device('ct-1'), 'driver')).toBeUndefined();
  });

  it('brings an upgrade and a wholly new application by themselves', async () => {
    const tree = await world.publish('viewer', '1.1.0', filesOf('viewer', '1.1.0', 3_000_000));
    await world.setCurrent('acme', 'ct', 'viewer', '1.1.0');
    await world.setCurrent('acme', 'ct', 'driver', '1.0.0');
    await world.untilUpToDate();
    await expectTruth(
      { 'ct-1': { viewer: '1.1.0', driver: '1.0.0' }, 'ct-3': { viewer: '1.1.0', driver: '1.0.0' }, 'pump-1': { driver: '1.0.0' } },
      { 'viewer@1.1.0': tree },
    );
  });

  it('lets one site run another version than the rest of the group', async () => {
    await world.setCurrent('acme', 'ct', 'viewer', '1.0.0', { site: 'south', allowDowngrade: true });
    await world.untilUpToDate();
    await expectTruth({ 'ct-1': { viewer: '1.1.0', driver: '1.0.0' }, 'ct-3': { viewer: '1.0.0', driver: '1.0.0' } }, {});
  });

  it('sees a device that was set back to an older version as drift, and updates it again', async () => {
    const device = world.device('ct-1');
    await device.daemon.stop();
    await rm(path.join(device.install, 'driver'), { recursive: true });
    await device.daemon.start();
    await world.until('ct-1 runs the driver again', async () => (await world.installed(device, 'driver'))?.version === '1.0.0');
    await world.untilUpToDate();
    const entries = await (await world.ops()).call('trace', { application: 'driver', version: '1.0.0', device: 'ct-1' });
    expect(entries.entries.filter((entry) => JSON.stringify(entry.change).includes('ct-1')).length).toBeGreaterThanOrEqual(2);
  });

  it('knows every device of the LAN by its certificate', async () => {
    await world.until('three devices seen at north', async () => {
      const seen = await (await world.ops()).call('device.seen', { customer: 'acme', site: 'north' });
      return seen.filter((device) => device.identity !== null && device.connected).length === 3;
    });
  });

  it('keeps a registry that its log reproduces byte for byte', async () => {
    const check = await (await world.ops()).call('registry.check', {});
    expect(check.differences).toEqual([]);
    expect(check.entries).toBeGreaterThan(10);
  });
});
