import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { systemClock } from '../../shared/base/clock.ts';
import { filesOf } from '../support/files.ts';
import { World } from '../support/world.ts';

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
    await world.publish('viewer', '1.0.0', filesOf('viewer', '1.0.0', 12_000_000));
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
    await world.until('the gateway has reported its counters', async () => (await line()).unique >= 12_000_000);
    const { received, unique } = await line();
    expect(unique).toBeLessThan(12_600_000);
    expect(received / unique).toBeLessThan(1.05);
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
