import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { systemClock } from '../../shared/base/clock.ts';
import { filesOf } from '../support/files.ts';
import { World } from '../support/world.ts';

/** Bytes of the release. */
const SIZE = 12_000_000;
/** Bytes over the line for each byte of content; and what a site hears beside content: handshakes, metadata, manifests, and a chunk cut off each time. */
const MAX_RATIO = 1.03;
const CONTROL = 300_000;

describe('the line', () => {
  let world: World;
  beforeAll(async () => {
    world = await World.create({ plan: { acme: { north: { ct: ['ct-1', 'ct-2'], pump: ['pump-1'] } } }, applications: ['viewer'], lineMbit: 40 });
    await world.start();
  });
  afterAll(async () => world?.close());

  async function line(): Promise<{ received: number; unique: number }> {
    const site = (await world.status()).sites.find((row) => row.site === 'north');
    return site?.line ?? { received: 0, unique: 0 };
  }

  it('carries each byte once although it is unplugged five times and two groups want the same release', async () => {
    await world.publish('viewer', '1.0.0', filesOf('viewer', '1.0.0', SIZE));
    const host = world.site('north').host;
    await world.setCurrent('acme', 'ct', 'viewer', '1.0.0');
    await world.setCurrent('acme', 'pump', 'viewer', '1.0.0');
    for (let i = 0; i < 5; i++) {
      await systemClock.sleep(150 + Math.floor(Math.random() * 300));
      await host.plug('wan', false);
      await systemClock.sleep(100 + Math.floor(Math.random() * 400));
      await host.plug('wan', true);
    }
    await world.untilUpToDate();
    await world.until('the gateway has reported its counters', async () => (await line()).unique >= SIZE);
    const { received, unique } = await line();
    expect(unique).toBeGreaterThanOrEqual(SIZE);
    expect(unique).toBeLessThan(SIZE * 1.001);
    expect(received).toBeLessThanOrEqual(MAX_RATIO * unique + CONTROL);
  });

  it('is counted by bundle, and every device’s bytes by where it had them from', async () => {
    const content = filesOf('viewer', '1.0.0', SIZE);
    const size = Object.values(content).reduce((sum, file) => sum + file.length, 0);
    // A gateway reports its counters now and then: what devices say they had from it shows later in what it says it sent, never less but for what was on its way when something broke.
    await world.until('the gateway says it sent what the devices had from it', ({ sites: [north] }) => {
      const had = north?.had ?? { gateway: 0, peer: 0, own: 0 };
      return had.gateway > 0 && had.gateway + had.peer + had.own === 3 * size && (north?.sent ?? 0) >= had.gateway;
    });
    const { bundles, sites } = await world.status();
    const { unique } = await line();
    // One group's bundle paid for what the other one has as well.
    expect(bundles.reduce((sum, row) => sum + (row.line ?? 0), 0)).toBe(unique);
    for (const name of ['ct-1', 'ct-2', 'pump-1']) {
      const { installations } = await (await world.ops()).call('trace.device', { device: name });
      expect(installations.map((row) => [row.application, row.result, row.gateway + row.peer + row.own])).toEqual([['viewer', 'installed', size]]);
    }
    const [site] = sites;
    expect(site?.had).toEqual({
      gateway: bundles.reduce((sum, row) => sum + row.gateway, 0),
      peer: bundles.reduce((sum, row) => sum + row.peer, 0),
      own: bundles.reduce((sum, row) => sum + row.own, 0),
      patch: bundles.reduce((sum, row) => sum + row.patch, 0),
    });
  });

  it('is counted to the byte although the gateway is killed while it pulls', async () => {
    const before = await line();
    await world.publish('viewer', '1.0.1', filesOf('viewer', '1.0.1', SIZE));
    await world.setCurrent('acme', 'pump', 'viewer', '1.0.1');
    const { daemon } = world.site('north');
    for (let i = 0; i < 3; i++) {
      await systemClock.sleep(100 + Math.floor(Math.random() * 150));
      await daemon.kill();
      await daemon.start();
    }
    await world.untilUpToDate();
    await world.until('the gateway has reported its counters', async () => (await line()).unique >= before.unique + SIZE / 5);
    const { bundles } = await world.status();
    expect(bundles.reduce((sum, row) => sum + (row.line ?? 0), 0)).toBe((await line()).unique);
  });

  it('may be gone while devices install, confirm and come back: nothing said meanwhile is lost', async () => {
    const host = world.site('north').host;
    const device = world.device('ct-2');
    await device.daemon.stop();
    await world.publish('viewer', '1.1.0', filesOf('viewer', '1.1.0', 2_000_000));
    await world.setCurrent('acme', 'ct', 'viewer', '1.1.0');
    await world.until('ct-1 has it', (status) => status.devices.some((row) => row.device === 'ct-1' && row.customerVersion === '1.1.0'));

    await host.plug('wan', false);
    await device.daemon.start();
    await device.daemon.logged((line) => line.event === 'install.concluded' && line['version'] === '1.1.0');
    expect((await world.installed(device, 'viewer'))?.version).toBe('1.1.0');
    // The gateway itself may be restarted with the line down; the statement waits in its outbox and in the device's.
    await world.site('north').daemon.kill();
    await world.site('north').daemon.start();
    await device.daemon.stop();
    await host.plug('wan', true);
    await world.untilUpToDate();
  });
});
