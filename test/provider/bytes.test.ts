import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import type { Provider } from '../../provider/provider.ts';
import { readMetrics } from '../support/exposition.ts';
import { RecordingLog } from '../support/recording-log.ts';
import { Operator, Uplinked, Vendor } from './provider-rig.ts';
import { confirmation } from './statements.ts';

let vendor: Vendor;
let data = '';
let provider: Provider;
const log = new RecordingLog();
beforeAll(async () => {
  vendor = await Vendor.found();
  data = await mkdtemp(join(tmpdir(), 'wardcast-provider-'));
  provider = await vendor.inProcess(data, log, { host: '127.0.0.1', port: 0 });
});
afterAll(async () => {
  await provider.close();
  await vendor.close();
  await rm(data, { recursive: true, force: true });
});

test('where the bytes of a bundle came from is in status, trace and metrics: what devices signed beside what the gateway reports', async () => {
  const ops = await new Operator(vendor.credentials('ops'), provider.port).up();
  const gateway = await new Uplinked(vendor.credentials('gateway'), provider.port).up();
  await ops.founded();
  const release = await vendor.release('viewer', '1.0.0', 100_000);
  await ops.publishRelease(release);
  await ops.call('current.set', { customer: 'acme', group: 'ct', site: null, application: 'viewer', version: '1.0.0', allowDowngrade: false });
  await expect.poll(async () => (await ops.call('status', {})).sites[0]?.groups[0]?.sequence, { timeout: 30_000 }).toBe(1);
  const place = { customer: 'acme', site: 'north', group: 'ct', sequence: 1 };
  expect((await ops.call('status', {})).bundles).toEqual([
    { ...place, line: null, sent: null, confirmations: 0, gateway: 0, peer: 0, own: 0, patch: 0, lacked: 0, copies: null },
  ]);

  const said = (counter: number, gatewayBytes: number, peer: number): ReturnType<typeof confirmation> =>
    confirmation('ct-1', counter, { manifest: release.manifest, sources: { gateway: gatewayBytes, peer, own: 0 } });
  const first = said(1, 60_000, 40_000);
  await gateway.state(first, vendor.credentials('ct-1'));
  // The same words again are on the log already: no byte counts twice.
  await gateway.state(first, vendor.credentials('ct-1'));
  const patched = { gateway: 44_000, peer: 56_000, own: 0, patch: 700_000 };
  await gateway.state({ ...said(1, 0, 0), device: 'ct-2', sources: patched }, vendor.credentials('ct-2'));
  await gateway.say('seen', {
    devices: [],
    line: { received: 101_000, unique: 100_000 },
    content: { gateway: 105_000, bundles: [{ group: 'ct', sequence: 1, line: 100_000, gateway: 105_000 }] },
  });

  await expect.poll(async () => (await ops.call('status', {})).sites[0]?.sent).toBe(105_000);
  const status = await ops.call('status', {});
  expect(status.bundles).toEqual([
    { ...place, line: 100_000, sent: 105_000, confirmations: 2, gateway: 104_000, peer: 96_000, own: 0, patch: 700_000, lacked: 100_000, copies: 1.05 },
  ]);
  expect(status.sites).toMatchObject([{ had: { gateway: 104_000, peer: 96_000, own: 0, patch: 700_000 }, copies: 1.05 }]);

  const installation = { customer: 'acme', site: 'north', group: 'ct', device: 'ct-1', application: 'viewer', version: '1.0.0', sequence: 1 };
  const trace = await ops.call('trace', { application: 'viewer', version: '1.0.0' });
  expect(trace.installations).toMatchObject([
    { ...installation, gateway: 60_000, peer: 40_000, own: 0, patch: 0, confirmations: 1 },
    { device: 'ct-2', patch: 700_000 },
  ]);
  const device = await ops.call('trace.device', { device: 'ct-1' });
  expect(device.installations).toEqual(trace.installations.slice(0, 1));
  expect(device.entries.map((entry) => entry.change.type)).toEqual(['statement']);
  await expect(ops.call('trace.device', { device: 'ct-77' })).rejects.toMatchObject({ code: 'NOT_FOUND' });
  expect(await ops.call('registry.check', {})).toMatchObject({ differences: [] });

  const samples = await readMetrics(Number(log.all('metrics.ready')[0]?.['port']));
  const site = { customer: 'acme', site: 'north' };
  expect(samples.get('wardcast_chunk_bytes_total')).toEqual([
    { labels: { ...site, source: 'gateway' }, value: 104_000 },
    { labels: { ...site, source: 'peer' }, value: 96_000 },
    { labels: { ...site, source: 'own' }, value: 0 },
    { labels: { ...site, source: 'patch' }, value: 700_000 },
  ]);
  expect(samples.get('wardcast_line_unique_bytes_total')).toEqual([{ labels: site, value: 100_000 }]);
  expect(samples.get('wardcast_confirmations_total')).toEqual([{ labels: { result: 'installed' }, value: 2 }]);
  expect(samples.get('wardcast_statements_total')).toContainEqual({ labels: { type: 'confirmation', outcome: 'again' }, value: 1 });
  expect(samples.get('wardcast_bundles_total')).toEqual([{ labels: {}, value: 1 }]);
  await ops.close();
  await gateway.close();
});
