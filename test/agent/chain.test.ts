import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { MAX_PAYLOAD } from '../../shared/base/limits.ts';
import { DeviceRig } from '../support/device-rig.ts';
import { bytesOf } from '../support/files.ts';
import { createTestPki, createTestSite, ct } from '../support/gateway-site.ts';
import { makeRelease } from '../support/scripted-provider.ts';
import { readTree } from '../support/tree.ts';

describe('a real gateway and a real agent process', () => {
  it('bring a release from the line to the disk, and its confirmation and the receipt back', () =>
    travels({ VERSION: Buffer.from('1'), 'lib/engine': bytesOf('engine', 3_000_000) }));

  it('bring a release whose manifest is larger than one message', async () => {
    // Long names make a large manifest of few files.
    const folder = Array.from({ length: 7 }, (_, level) => String(level).repeat(120)).join('/');
    const contents = Object.fromEntries(Array.from({ length: 1500 }, (_, at) => [`${folder}/${at}`, Buffer.from('same')]));
    expect(makeRelease('viewer', '1.0.0', contents).bytes.length).toBeGreaterThan(MAX_PAYLOAD);
    await travels(contents);
  });
});

async function travels(contents: Readonly<Record<string, Buffer>>): Promise<void> {
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
    const release = makeRelease('viewer', '1.0.0', contents);
    site.provider.publish(release);
    await device.daemon.start();
    await site.provider.assign(ct, [release]);
    await device.daemon.logged((line) => line.event === 'install.concluded' && line['result'] === 'installed');
    const recorded = await device.daemon.logged((line) => line.event === 'install.concluded');
    await device.daemon.logged((line) => line.event === 'receipt.recorded' && line['counter'] === recorded['counter']);
    const files = await readTree(join(device.install, 'viewer', 'releases', release.hash));
    expect([...files.keys()].sort()).toEqual(Object.keys(contents).sort());
    for (const [name, bytes] of Object.entries(contents)) expect(files.get(name)?.equals(bytes), name).toBe(true);
    const confirmations = site.provider.statements.filter((statement) => statement.type === 'confirmation');
    expect(confirmations).toMatchObject([{ device: 'ct-1', application: 'viewer', version: '1.0.0', result: 'installed', manifest: release.hash }]);
    expect(await device.daemon.stop()).toBe(0);
  } finally {
    await device.stop();
    await pki.remove();
  }
}
