import { afterAll, beforeAll, expect, it } from 'vitest';
import { readMetrics } from '../support/exposition.ts';
import { bytesOf } from '../support/files.ts';
import { chunkSource, createTestPki, createTestSite, ct, deviceLink, pump, type TestPki, untilUp } from '../support/gateway-site.ts';
import { RecordingLog } from '../support/recording-log.ts';
import { makeRelease } from '../support/scripted-provider.ts';

let pki: TestPki;
beforeAll(async () => {
  pki = await createTestPki();
});
afterAll(() => pki.remove());

it('counts what the line brought and what left for devices, by bundle, over a restart; and tells it as metrics', async () => {
  const site = await createTestSite(pki);
  const log = new RecordingLog();
  const shared = bytesOf('shared', 400_000);
  const viewer = makeRelease('viewer', '1.0.0', { lib: shared, own: bytesOf('viewer', 300_000) });
  const driver = makeRelease('driver', '1.0.0', { lib: shared, own: bytesOf('driver', 200_000) });
  site.provider.publish(viewer, driver);
  await site.provider.assign(ct, [viewer]);
  await site.provider.assign(pump, [driver]);
  let gateway = await site.start({ log, metrics: { host: '127.0.0.1', port: 0 } });
  await expect.poll(() => site.provider.progress.filter(({ phase }) => phase === 'relayed').length, { timeout: 30_000 }).toBe(2);

  const credentials = await pki.device('ct-1');
  const link = deviceLink(gateway.port, credentials);
  await untilUp(link);
  const source = chunkSource(gateway.port, credentials, ct);
  for (const hash of viewer.chunks.keys()) await source.get(hash);
  const [first] = viewer.chunks.keys();
  await source.get(first ?? '');
  const sent = 700_000 + (viewer.chunks.get(first ?? '')?.length ?? 0);
  const unique = [...new Map([...viewer.chunks, ...driver.chunks]).values()].reduce((sum, bytes) => sum + bytes.length, 0);
  expect(unique).toBe(900_000);

  const port = (): number => Number(log.all('metrics.ready').at(-1)?.['port']);
  const samples = await readMetrics(port());
  const value = (name: string): number | undefined => samples.get(name)?.[0]?.value;
  expect(value('wardcast_line_unique_bytes_total')).toBe(unique);
  expect(samples.get('wardcast_chunk_bytes_total')).toEqual([{ labels: { source: 'line' }, value: unique }]);
  expect(value('wardcast_line_received_bytes_total')).toBeGreaterThan(unique);
  expect(value('wardcast_sent_chunk_bytes_total')).toBe(sent);
  expect(value('wardcast_bundles')).toBe(2);
  expect(value('wardcast_connected_devices')).toBe(1);
  expect(value('wardcast_line_up')).toBe(1);
  expect(value('wardcast_outbox_statements')).toBe(0);
  expect(samples.get('wardcast_door_connections_total')?.map(({ labels }) => labels['result'])).toEqual(['accepted', 'refused', 'dropped']);
  expect(value('wardcast_process_resident_memory_bytes')).toBeGreaterThan(1_000_000);

  await gateway.close();
  const told = site.provider.seen.length;
  gateway = await site.start({ log, metrics: { host: '127.0.0.1', port: 0 } });
  await expect.poll(() => site.provider.seen.length, { timeout: 30_000 }).toBeGreaterThan(told);
  const { content, line } = site.provider.seen.at(-1) ?? { content: undefined, line: undefined };
  expect(line?.unique).toBe(unique);
  expect(content?.gateway).toBe(sent);
  expect(content?.bundles.reduce((sum, row) => sum + row.line, 0)).toBe(unique);
  expect(content?.bundles.find(({ group }) => group === 'ct')).toMatchObject({ sequence: 1, gateway: sent });
});
