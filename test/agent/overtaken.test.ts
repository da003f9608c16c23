import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it, onTestFinished } from 'vitest';
import { DeviceRig } from '../support/device-rig.ts';
import { madeRelease } from '../support/made-release.ts';
import { ScriptedGateway, Vendor } from '../support/scripted-gateway.ts';

const ct = { customer: 'acme', site: 'north', group: 'ct' };
const one = madeRelease({ version: '1.0.0', files: { VERSION: '1' } });
const two = madeRelease({ version: '2.0.0', files: { VERSION: '2' } });
const hook = (script: string) => `#!/bin/sh\n${script}\n`;
const hesitant = madeRelease({
  version: '3.0.0',
  files: { VERSION: '3', 'pre.sh': hook('sleep 2') },
  hooks: { preActivate: { path: 'pre.sh' } },
});
const ill = madeRelease({ version: '3.1.0', files: { VERSION: 'ill', 'check.sh': hook('sleep 2; exit 1') }, hooks: { check: { path: 'check.sh' } } });
const all = [one, two, hesitant, ill];

let folder: string;
let vendor: Vendor;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'wardcast-overtaken-'));
  vendor = await Vendor.create(folder, [{ group: 'ct', device: 'ct-1' }]);
  vendor.publish(...all);
}, 120_000);
afterAll(() => rm(folder, { recursive: true, force: true }));

describe('a bundle that comes while another is being activated', () => {
  let count = 0;
  async function runningOne(): Promise<{ gateway: ScriptedGateway; device: DeviceRig; said: (version: string, result: string) => Promise<void> }> {
    const gateway = await ScriptedGateway.start(vendor);
    const device = await DeviceRig.create(vendor, 'ct-1', join(folder, `device-${count++}`), `127.0.0.1:${gateway.port}`);
    onTestFinished(async () => {
      await device.stop();
      await gateway.close();
    });
    const said = (version: string, result: string): Promise<void> =>
      gateway.until(() => gateway.confirmations().some((c) => c.version === version && c.result === result));
    await gateway.offer(vendor.assign(ct, [one]));
    await device.start();
    await said('1.0.0', 'installed');
    return { gateway, device, said };
  }

  it('is judged by what runs when its turn comes: no downgrade slips in that nobody signed as wanted', async () => {
    const { gateway, device, said } = await runningOne();
    await gateway.offer(vendor.assign(ct, [hesitant]));
    await gateway.until(() => gateway.progress.some(({ version, phase }) => version === '3.0.0' && phase === 'activating'));
    await gateway.offer(vendor.assign(ct, [two]));
    await said('3.0.0', 'installed');
    await said('2.0.0', 'refused');
    expect(gateway.confirmations().at(-1)).toMatchObject({ reason: { code: 'DOWNGRADE_REFUSED' }, running: { version: '3.0.0' } });
    expect(await device.runs('viewer', all)).toBe(hesitant);
  });

  it('is installed once what stood in its way was rolled back, without being offered again', async () => {
    const { gateway, device, said } = await runningOne();
    await gateway.offer(vendor.assign(ct, [ill]));
    await gateway.until(() => gateway.progress.some(({ version, phase }) => version === '3.1.0' && phase === 'checking'));
    await gateway.offer(vendor.assign(ct, [two]));
    await said('3.1.0', 'rolled-back');
    await said('2.0.0', 'installed');
    expect(await device.runs('viewer', all)).toBe(two);
  });
});
