import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it, onTestFinished } from 'vitest';
import { loadCredentials } from '../../certs/credentials.ts';
import { issueGateway } from '../../certs/pki-directory.ts';
import { systemClock } from '../../shared/base/clock.ts';
import { silentLog } from '../../shared/base/log.ts';
import { HttpsChunkSource } from '../../shared/net/chunk-client.ts';
import type { Discovery } from '../../shared/net/discovery.ts';
import { isoSeconds } from '../../shared/wire/revocation.ts';
import { DeviceRig } from '../support/device-rig.ts';
import { bytesOf } from '../support/files.ts';
import { madeRelease } from '../support/made-release.ts';
import { ScriptedGateway, Vendor } from '../support/scripted-gateway.ts';

/** Agents whose gateway lets everybody in: what they refuse, they refuse themselves. */
const ct = { customer: 'acme', site: 'north', group: 'ct' };
const viewer = madeRelease({ files: { VERSION: '1', engine: bytesOf('viewer', 200_000) } });
const [chunk = ''] = viewer.chunks.keys();
const now = (): string => isoSeconds(Date.now());
const named = (device: string): { identity: string; until: string } => ({ identity: `customer/acme/site/north/group/ct/device/${device}`, until: now() });

let folder: string;
let vendor: Vendor;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'wardcast-revoked-'));
  vendor = await Vendor.create(
    folder,
    ['ct-1', 'ct-2', 'ct-3'].map((device) => ({ group: 'ct', device })),
  );
  vendor.publish(viewer);
  await issueGateway({ directory: join(folder, 'pki'), customer: 'acme', site: 'north', gateway: 'gw-2', out: vendor.credentials('gw-2') });
}, 120_000);
afterAll(() => rm(folder, { recursive: true, force: true }));

async function neighbour(name: string, port: number): Promise<HttpsChunkSource> {
  const credentials = await loadCredentials(vendor.credentials(name), systemClock);
  const source = new HttpsChunkSource({ host: '127.0.0.1', port, credentials, expect: () => true, scope: ct, log: silentLog, clock: systemClock });
  onTestFinished(() => source.close());
  return source;
}

describe('an agent whose bundle names the revoked', () => {
  it('cuts a neighbour off its door, lets the other one stay, and still does after a restart without any gateway', async () => {
    const gateway = await ScriptedGateway.start(vendor);
    const device = await DeviceRig.create(vendor, 'ct-1', join(folder, 'ct-1-device'), `127.0.0.1:${gateway.port}`);
    onTestFinished(() => device.stop());
    const { port } = await device.start();
    await gateway.offer(vendor.assign(ct, [viewer]));
    await gateway.until(() => gateway.confirmations().some((c) => c.result === 'installed'));
    const thief = await neighbour('ct-2', port);
    const honest = await neighbour('ct-3', port);
    await expect.poll(async () => (await thief.get(chunk).catch(() => undefined))?.length).toBe(viewer.chunks.get(chunk)?.length);
    await honest.get(chunk);
    await gateway.offer(vendor.assign(ct, [viewer], { revoked: [named('ct-2')] }));
    await device.log.seen('revoked.cut', (line) => line['identity'] === named('ct-2').identity);
    await expect(thief.get(chunk)).rejects.toMatchObject({ code: 'CERT_REFUSED_BY_PEER', context: { refused: 'CERT_REVOKED' } });
    await honest.get(chunk);

    await device.stop();
    await gateway.close();
    const again = await device.start();
    await expect((await neighbour('ct-2', again.port)).get(chunk)).rejects.toMatchObject({ code: 'CERT_REFUSED_BY_PEER' });
    await (await neighbour('ct-3', again.port)).get(chunk);
  });

  it('leaves a gateway that is revoked at once, and goes to another one of its site', async () => {
    const stolen = await ScriptedGateway.start(vendor);
    const good = await ScriptedGateway.start(vendor, { credentials: 'gw-2' });
    const sightings = [
      { type: 'up' as const, instance: 'a', address: '127.0.0.1', port: stolen.port },
      { type: 'up' as const, instance: 'b', address: '127.0.0.1', port: good.port },
    ];
    const first = Promise.withResolvers<void>();
    const discovery: Discovery = {
      advertise: async () => ({ close: async () => undefined }),
      async *browse(kind, { signal } = {}) {
        if (kind === 'gateway') {
          yield* sightings.slice(0, 1);
          await first.promise;
          yield* sightings.slice(1);
        }
        await new Promise<void>((resolve) => signal?.addEventListener('abort', () => resolve(), { once: true }));
      },
      close: async () => undefined,
    };
    const device = await DeviceRig.create(vendor, 'ct-2', join(folder, 'ct-2-device'), undefined);
    onTestFinished(async () => {
      await device.stop();
      await stolen.close();
      await good.close();
    });
    await device.start({ discovery });
    await stolen.until(() => stolen.hellos.length > 0);
    const shelf = vendor.assign(ct, [viewer], { revoked: [{ identity: 'customer/acme/site/north/gateway/gw', until: now() }] });
    await good.offer(shelf);
    // It passes on what says that it is stolen: holding it back, it could give nothing new either.
    await stolen.offer(shelf);
    await device.log.seen('revoked.cut', (line) => String(line['identity']).endsWith('gateway/gw'));
    first.resolve();
    await good.until(() => good.confirmations().some((c) => c.result === 'installed'));
    expect(stolen.confirmations()).toEqual([]);
    expect(device.log.lines.filter((line) => line['event'] === 'gateway.refused')).not.toEqual([]);
  });
});
