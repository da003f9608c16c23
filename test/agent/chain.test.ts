import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { DeviceRig } from '../support/device-rig.ts';
import { bytesOf } from '../support/files.ts';
import { createTestPki, createTestSite, ct } from '../support/gateway-site.ts';
import { makeRelease } from '../support/scripted-provider.ts';
import { readTree } from '../support/world.ts';

describe('a real gateway and a real agent process', () => {
  it('bring a release from the line to the disk, and its confirmation and the receipt back', async () => {
    const pki = await createTestPki();
    const site = await createTestSite(pki);
    const gateway = await site.start();
    const credentials = (name: string): string => join(pki.directory, 'credentials', name);
    const device = await DeviceRig.create(
      { root: site.provider.rootMetadata, credentials },
      'ct-1',
      join(site.data, '..', 'device'),
      `127.0.0.1:${gateway.port}`,
    );
    try {
      const contents = { VERSION: Buffer.from('1'), 'lib/engine': bytesOf('engine', 3_000_000) };
      const release = makeRelease('viewer', '1.0.0', contents);
      site.provider.publish(release);
      await device.daemon.start();
      await site.provider.assign(ct, [release]);
      await device.daemon.logged((line) => line.event === 'install.concluded' && line['result'] === 'installed');
      const recorded = await device.daemon.logged((line) => line.event === 'install.concluded');
      await device.daemon.logged((line) => line.event === 'receipt.recorded' && line['counter'] === recorded['counter']);
      const files = await readTree(join(device.install, 'viewer', 'releases', release.hash));
      expect(Object.fromEntries(Object.entries(contents).map(([name, bytes]) => [name, files.get(name)?.equals(bytes)]))).toEqual({
        VERSION: true,
        'lib/engine': true,
      });
      const confirmations = site.provider.statements.filter((statement) => statement.type === 'confirmation');
      expect(confirmations).toMatchObject([{ device: 'ct-1', application: 'viewer', version: '1.0.0', result: 'installed', manifest: release.hash }]);
      expect(await device.daemon.stop()).toBe(0);
    } finally {
      await device.stop();
      await pki.remove();
    }
  }, 120_000);
});
