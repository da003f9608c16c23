import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { seal } from '../../certs/envelope.ts';
import { systemClock } from '../../shared/base/clock.ts';
import { silentLog } from '../../shared/base/log.ts';
import { openLink } from '../../shared/net/link.ts';
import type { Confirmation, Signed } from '../../shared/wire/messages.ts';
import { up } from '../../shared/wire/topics.ts';
import { filesOf } from '../support/files.ts';
import { World } from '../support/world.ts';

/** The site's gateway is hostile here: the test speaks with its genuine certificate. */
describe('statements that are repeated, reordered or forged on the way', () => {
  let world: World;
  let manifest = '';
  beforeAll(async () => {
    world = await World.create({ plan: { acme: { north: { ct: ['ct-1', 'ct-2'] } } }, applications: ['viewer'] });
    await world.start();
    await world.publish('viewer', '1.0.0', filesOf('viewer', '1.0.0', 200_000));
    await world.setCurrent('acme', 'ct', 'viewer', '1.0.0');
    await world.untilUpToDate();
    manifest = (await (await world.ops()).call('release.list', { application: 'viewer' }))[0]?.manifest ?? '';
    for (const device of world.devices.values()) await device.daemon.stop();
    await world.site('north').daemon.stop();
  });
  afterAll(async () => world?.close());

  it('change nothing that the devices did not say', async () => {
    const before = (await world.status()).devices;
    const gateway = await world.credentials(world.site('north').credentials);
    const one = await world.credentials(world.device('ct-1').credentials);
    const two = await world.credentials(world.device('ct-2').credentials);
    const counter = (name: string): number => before.find((row) => row.device === name)?.counter ?? 0;
    const confirmation = (device: string, count: number, version: string): Confirmation => ({
      type: 'confirmation',
      customer: 'acme',
      site: 'north',
      group: 'ct',
      device,
      counter: count,
      at: new Date().toISOString(),
      application: 'viewer',
      version,
      manifest,
      sequence: 1,
      result: 'installed',
      running: { version, manifest },
    });
    const sealed = (body: Confirmation, who: typeof one): Signed => seal(Buffer.from(JSON.stringify(body)), who);
    const genuine = sealed(confirmation('ct-1', counter('ct-1') + 2, '7.0.2'), one);
    const older = sealed(confirmation('ct-1', counter('ct-1') + 1, '7.0.1'), one);
    const forged = sealed(confirmation('ct-1', counter('ct-1') + 50, '6.6.6'), two);
    const byGateway = sealed(confirmation('ct-2', counter('ct-2') + 50, '6.6.6'), gateway);
    const tampered: Signed = {
      ...sealed(confirmation('ct-2', counter('ct-2') + 9, '1.0.0'), two),
      payload: Buffer.from(JSON.stringify(confirmation('ct-2', counter('ct-2') + 9, '6.6.6'))).toString('base64'),
    };

    const link = openLink({
      host: world.providerHost.addresses['wan'] ?? '',
      port: 8883,
      credentials: gateway,
      expect: (identity) => identity.role === 'provider',
      log: silentLog,
      clock: systemClock,
    });
    await new Promise<void>((resolve) => {
      const stop = link.onState((state) => {
        if (state !== 'up') return;
        stop();
        resolve();
      });
      if (link.state === 'up') resolve();
    });
    const say = (statement: Signed): Promise<void> => link.publish(up(gateway.identity, 'statement'), Buffer.from(JSON.stringify(statement)), { qos: 1 });
    for (const statement of [forged, genuine, older, byGateway, genuine, tampered, older, genuine, forged]) await say(statement);
    await world.until('the genuine statement is recorded', (status) => status.devices.some((row) => row.device === 'ct-1' && row.customerVersion === '7.0.2'));
    await link.close();

    const after = (await world.status()).devices;
    expect(after.find((row) => row.device === 'ct-2')?.customerVersion).toBe('1.0.0');
    expect(after.find((row) => row.device === 'ct-1')?.counter).toBe(counter('ct-1') + 2);
    const ops = await world.ops();
    const log = JSON.stringify(await ops.call('log.list', { from: 0, limit: 1000 }));
    expect(log).not.toContain('6.6.6');
    expect(log.split(`"counter":${counter('ct-1') + 2}`).length - 1).toBeLessThanOrEqual(2);
    expect((await ops.call('registry.check', {})).differences).toEqual([]);

    // Heard again, the devices set the record straight.
    await world.site('north').daemon.start();
    for (const device of world.devices.values()) await device.daemon.start();
    await world.untilUpToDate();
    expect((await world.status()).devices.find((row) => row.device === 'ct-1')?.customerVersion).toBe('1.0.0');
  });
});
