import { cp } from 'node:fs/promises';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { filesOf } from '../support/files.ts';
import { World } from '../support/world.ts';

/** Bytes of the release, and Mbit/s of each device's way to the LAN: it takes several seconds. */
const SIZE = 2_500_000;
const LAN_MBIT = 4;
/** Milliseconds from the order until nobody serves the device. */
const LIMIT = 60_000;

describe('a stolen device', () => {
  let world: World;
  beforeAll(async () => {
    world = await World.create({ plan: { acme: { north: { ct: ['ct-1', 'ct-2'] } } }, applications: ['viewer'] });
    for (const name of ['ct-1', 'ct-2']) await world.network.shape(world.device(name).host, 'lan0', LAN_MBIT);
    await world.start();
  });
  afterAll(async () => world?.close());

  it('is cut off in the middle of a download, by gateway and peer, and its statements are refused; the other one goes on', async () => {
    const [thief, honest, gateway] = [world.device('ct-1').daemon, world.device('ct-2').daemon, world.site('north').daemon];
    await world.publish('viewer', '1.0.0', filesOf('viewer', '1.0.0', SIZE));
    await world.setCurrent('acme', 'ct', 'viewer', '1.0.0');
    for (const daemon of [thief, honest]) await daemon.logged((line) => line.event === 'install.begin');
    const from = { gateway: gateway.lines.length, honest: honest.lines.length };
    const ordered = Date.now();
    await (await world.ops()).call('device.revoke', { customer: 'acme', device: 'ct-1', reason: 'stolen from the loading bay' });
    const identity = 'customer/acme/site/north/group/ct/device/ct-1';
    const cut = (line: { readonly event: string; readonly [field: string]: unknown }): boolean => line.event === 'revoked.cut' && line['identity'] === identity;
    await gateway.logged(cut, { from: from.gateway });
    await gateway.logged((line) => line.event === 'door.refused' && line['code'] === 'CERT_REVOKED', { from: from.gateway });
    // The peer knows as soon as it believes the new bundle, whether or not the two were connected at that moment.
    await honest.logged((line) => line.event === 'trust.updated' && line['sequence'] === 2, { from: from.honest });
    expect(Date.now() - ordered).toBeLessThan(LIMIT);

    await world.until('ct-2 runs the release', (status) => status.devices.some((row) => row.device === 'ct-2' && row.state === 'up-to-date'));
    expect(await world.installed(world.device('ct-1'), 'viewer')).toBeUndefined();
    const refusals = thief.lines.filter((line) => line.event === 'install.concluded' || line.event === 'gateway.connected').length;
    expect(refusals).toBe(1);
    expect((await world.status()).devices.find((row) => row.device === 'ct-1')).toMatchObject({ customerVersion: null });
    expect(await world.wardcast('revocations', 'list', 'acme')).toMatchObject([{ identity, reason: 'stolen from the loading bay' }]);
  });

  it('is good again with a certificate made afterwards', async () => {
    const device = world.device('ct-1');
    await device.daemon.stop();
    await world.wardcast('device', 'revoke', 'acme', 'ct-1', '--reason', 'once more, to be sure');
    const fresh = path.join(world.directory, 'ct-1', 'fresh');
    await world.offline('pki', 'device', 'acme', 'north', 'ct', 'ct-1', '--dir', path.join(world.directory, 'pki'), '--out', fresh, '--from-now');
    await cp(fresh, device.credentials, { recursive: true, force: true });
    await device.daemon.start();
    await world.untilUpToDate();
  });
});
