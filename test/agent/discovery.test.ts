import { randomUUID } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { systemClock } from '../../shared/base/clock.ts';
import { silentLog } from '../../shared/base/log.ts';
import { createBonjourDiscovery } from '../../shared/net/bonjour.ts';
import { DeviceRig } from '../support/device-rig.ts';
import { madeRelease } from '../support/made-release.ts';
import { ScriptedGateway, Vendor } from '../support/scripted-gateway.ts';

const ct = { customer: 'acme', site: 'north', group: 'ct' };
const one = madeRelease({ version: '1.0.0', files: { VERSION: '1' } });
const two = madeRelease({ version: '2.0.0', files: { VERSION: '2' } });

describe('an agent process without a configured address', () => {
  it('finds its gateway by mDNS on the one interface it may use, past an impostor, and finds the one that replaces it', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'wardcast-mdns-'));
    const vendor = await Vendor.create(folder, [
      { group: 'ct', device: 'ct-1' },
      { group: 'ct', device: 'ct-2' },
    ]);
    vendor.publish(one, two);
    const discovery = createBonjourDiscovery({ interface: '127.0.0.1', log: silentLog, clock: systemClock });
    const device = await DeviceRig.create(vendor, 'ct-1', join(folder, 'device'), undefined);
    // Advertised as a gateway, but it is another device's door.
    const other = await DeviceRig.create(vendor, 'ct-2', join(folder, 'other'), '127.0.0.1:9');
    const { port: wrong } = await other.start();
    const impostor = await discovery.advertise({ kind: 'gateway', port: wrong, instance: randomUUID() });
    let gateway = await ScriptedGateway.start(vendor);
    let advert = await discovery.advertise({ kind: 'gateway', port: gateway.port, instance: randomUUID() });
    try {
      await gateway.offer(vendor.assign(ct, [one]));
      await device.daemon.start();
      await gateway.until(() => gateway.confirmations().length === 1);
      // It is seen itself, by a random name and a port and nothing else.
      const found = await first(discovery.browse('agent', { signal: AbortSignal.timeout(50_000) }), (s) => s.port === gateway.hellos[0]?.port);
      expect(found).toMatchObject({ type: 'up', instance: gateway.hellos[0]?.instance });
      await advert.close();
      await gateway.close();
      gateway = await ScriptedGateway.start(vendor);
      await gateway.offer(vendor.assign(ct, [two]));
      advert = await discovery.advertise({ kind: 'gateway', port: gateway.port, instance: randomUUID() });
      await gateway.until(() => gateway.confirmations().some((c) => c.version === '2.0.0'));
      expect(await device.runs('viewer', [one, two])).toBe(two);
      expect(await device.daemon.stop()).toBe(0);
    } finally {
      await device.stop();
      await other.stop();
      await Promise.all([impostor.close(), advert.close()]);
      await discovery.close();
      await gateway.close();
      await rm(folder, { recursive: true, force: true });
    }
  }, 120_000);
});

async function first<T>(stream: AsyncIterable<T>, fits: (item: T) => boolean): Promise<T | undefined> {
  for await (const item of stream) if (fits(item)) return item;
  return undefined;
}
