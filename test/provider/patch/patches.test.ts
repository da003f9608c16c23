import { afterAll, afterEach, beforeAll, expect, it } from 'vitest';
import { bytesOf } from '../../support/files.ts';
import { installed, WholeSite } from '../../support/whole-site.ts';
import { Vendor } from '../provider-rig.ts';

let vendor: Vendor;
beforeAll(async () => {
  vendor = await Vendor.found();
});
afterAll(() => vendor.close());

const closing: (() => Promise<unknown>)[] = [];
afterEach(async () => {
  for (const close of closing.splice(0).reverse()) await close();
});

it('keeps a release’s patches in the bundles that follow: a revocation does not make the gateway fetch it whole', async () => {
  const site = await WholeSite.open(vendor, closing, { patches: true });
  const rigs = [await site.agent('ct-1'), await site.agent('ct-2')];
  const program = bytesOf('program', 1_000_000);
  const version = (n: number): Buffer => Buffer.concat([program, Buffer.from(`version ${n}`), program.subarray(0, 1000 * n)]);
  await site.publish(await vendor.release('viewer', '1.0.0', version(1)));
  await Promise.all(rigs.map((rig) => installed(rig, '1.0.0')));
  await site.publish(await vendor.release('viewer', '1.1.0', version(2)));
  await Promise.all(rigs.map((rig) => installed(rig, '1.1.0')));
  const pulled = (): unknown[] => site.log.all('relay.complete').map((line) => line['pulled']);
  const before = pulled().length;

  // A bundle with the same release, for another reason: the gateway does not fetch it whole now.
  await site.ops.call('device.revoke', { customer: 'acme', device: 'ct-2', reason: 'stolen' });
  await site.log.seen('relay.complete', (line) => pulled().length > before && line['sequence'] === 3);
  expect(pulled().slice(before)).toEqual([0]);
});
