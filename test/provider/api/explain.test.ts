import { execFile } from 'node:child_process';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, expect, it } from 'vitest';
import type { Provider } from '../../../provider/provider.ts';
import { Operator, Vendor } from '../provider-rig.ts';

let vendor: Vendor;
let provider: Provider;
let ops: Operator;
let data: string;

beforeAll(async () => {
  vendor = await Vendor.found();
  data = await mkdtemp(join(tmpdir(), 'wardcast-explain-'));
  provider = await vendor.inProcess(data);
  ops = await new Operator(vendor.credentials('ops'), provider.port).up();
  await ops.founded();
  await ops.call('device.add', { customer: 'acme', site: 'north', group: 'pumps', device: 'pump-1' });
  await ops.publishRelease(await vendor.release('viewer', '1.0.0'));
  await ops.call('current.set', { customer: 'acme', group: 'ct', site: null, application: 'viewer', version: '1.0.0', allowDowngrade: false });
  while ((await ops.call('explain', { device: 'ct-1', application: 'viewer', version: '1.0.0' })).bundleCount === 0)
    await new Promise((again) => setTimeout(again, 20));
});
afterAll(async () => {
  await ops?.close();
  await provider?.close();
  await vendor?.close();
  await rm(data, { recursive: true, force: true });
});

const viewer = { application: 'viewer', version: '1.0.0' };
const stops = ({ barriers }: { barriers: readonly { barrier: string; state: string }[] }): string[] =>
  barriers.filter(({ state }) => state === 'stands').map(({ barrier }) => barrier);

it('finds a device of the group entitled, from the provider’s own stores and keys', async () => {
  const found = await ops.call('explain', { device: 'ct-1', ...viewer });
  expect(found).toMatchObject({
    device: { customer: 'acme', site: 'north', group: 'ct', device: 'ct-1' },
    bundles: [{ customer: 'acme', site: 'north', group: 'ct', sequence: 1, current: true }],
    entitled: true,
  });
  expect(found.barriers.find(({ barrier }) => barrier === 'signature')).toMatchObject({ state: 'passes', values: { listed: found.release.manifest } });
});

it('names what keeps a device of another group away, and the same device as if its certificate said otherwise', async () => {
  const found = await ops.call('explain', { customer: 'acme', device: 'pump-1', ...viewer });
  expect(stops(found)).toEqual(['certificate', 'topics', 'bundle', 'objects']);
  expect(found.verdict).toContain('stopped by 4 of 9 barriers, first: certificate');
  const moved = await ops.call('explain', { customer: 'acme', site: 'north', group: 'ct', device: 'pump-1', ...viewer });
  expect(moved.entitled).toBe(true);
  expect(moved.barriers[0]).toMatchObject({ barrier: 'registration', state: 'none', values: { registered: 'acme/north/pumps' } });
});

it('says so when device, release or place do not exist', async () => {
  await expect(ops.call('explain', { device: 'nobody', ...viewer })).rejects.toMatchObject({ code: 'NOT_FOUND' });
  await expect(ops.call('explain', { device: 'ct-1', application: 'viewer', version: '9.0.0' })).rejects.toMatchObject({ code: 'NOT_FOUND' });
  await expect(ops.call('explain', { device: 'ct-1', site: 'north', ...viewer })).rejects.toMatchObject({ code: 'USAGE' });
});

it('is a command, whose exit status says whether anything stops it', async () => {
  const program = fileURLToPath(new URL('../../../cli/wardcast.mjs', import.meta.url));
  const wardcast = (...args: string[]): Promise<{ status: number | string | null | undefined; out: string }> =>
    new Promise((done) => {
      const where = ['--provider', `127.0.0.1:${provider.port}`, '--credentials', join(vendor.directory, 'credentials', 'ops')];
      execFile(process.execPath, [program, 'explain', ...args, ...where], (error, out) => done({ status: error === null ? 0 : error.code, out }));
    });
  const [open, closed] = await Promise.all([wardcast('acme/ct-1', 'viewer@1.0.0', '--json'), wardcast('pump-1', 'viewer@1.0.0')]);
  expect(open.status).toBe(0);
  expect(JSON.parse(open.out)).toMatchObject({ entitled: true, device: { device: 'ct-1' } });
  expect(closed.status).toBe(3);
  expect(closed.out).toMatch(/^certificate +stands .*group\/pumps cannot issue/m);
  expect(closed.out).toMatch(/^encryption +none /m);
  expect(closed.out).toContain('stopped by 4 of 9 barriers, first: certificate');
});

it('knows of a revocation the moment it is ordered', async () => {
  await ops.call('device.revoke', { customer: 'acme', device: 'ct-2', reason: 'stolen' });
  const found = await ops.call('explain', { device: 'ct-2', ...viewer });
  expect(stops(found)).toEqual(['revocation']);
  expect((await ops.call('explain', { device: 'ct-1', ...viewer })).entitled).toBe(true);
});

it('looks again each time: a withdrawal closes what was open', async () => {
  await ops.call('release.withdraw', { ...viewer, reason: 'faulty' });
  for (;;) {
    const found = await ops.call('explain', { device: 'ct-1', ...viewer });
    // The planner takes it out of the bundle; what is still served as the bundle before is still served.
    if (!stops(found).includes('bundle')) continue;
    expect(stops(found)).toEqual(['bundle', 'installer']);
    expect(found.bundles).toEqual([expect.objectContaining({ current: false })]);
    break;
  }
});
