import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it, onTestFinished } from 'vitest';
import { systemClock } from '../../shared/base/clock.ts';
import { identityPath } from '../../shared/base/identity.ts';
import { silentLog } from '../../shared/base/log.ts';
import { HttpsChunkSource } from '../../shared/net/chunk-client.ts';
import { isoSeconds } from '../../shared/wire/revocation.ts';
import { whyDown } from '../support/broker-rig.ts';
import { DeviceRig } from '../support/device-rig.ts';
import { bytesOf } from '../support/files.ts';
import { chunkSource, createTestPki, createTestSite, ct, deviceLink, type TestPki, type TestSite, untilUp } from '../support/gateway-site.ts';
import { makeRelease } from '../support/scripted-provider.ts';

let pki: TestPki;
beforeAll(async () => {
  pki = await createTestPki();
});
afterAll(() => pki.remove());

async function naming(device: 'ct-1'): Promise<{ revoked: { identity: string; until: string }[] }> {
  return { revoked: [{ identity: identityPath((await pki.device(device)).identity), until: isoSeconds(Date.now()) }] };
}
const old = makeRelease('viewer', '1.0.0', { lib: bytesOf('old', 300_000) });
const young = makeRelease('viewer', '2.0.0', { lib: bytesOf('young', 300_000) });
/** Its chunks never come. */
const stuck = (site: TestSite): void => {
  site.provider.onRead = (ref, bytes) => (ref.kind === 'chunk' && young.chunks.has(ref.name) ? undefined : bytes);
};

describe('a device that the signed bundle names as revoked', () => {
  it('is cut off by its gateway though the content of that bundle may never come, while the other is served on', async () => {
    const site = await createTestSite(pki);
    site.provider.publish(old, young);
    await site.provider.assign(ct, [old]);
    const gateway = await site.start();
    await expect.poll(() => site.provider.progress.some(({ phase }) => phase === 'relayed'), { timeout: 30_000 }).toBe(true);
    const thief = deviceLink(gateway.port, await pki.device('ct-1'));
    const honest = deviceLink(gateway.port, await pki.device('ct-2'));
    await Promise.all([untilUp(thief), untilUp(honest)]);
    stuck(site);
    await site.provider.assign(ct, [young]);
    await expect.poll(() => site.provider.progress.at(-1)?.phase, { timeout: 30_000 }).toBe('failed');
    const down = whyDown(thief);
    await site.provider.assign(ct, [young], await naming('ct-1'));
    await down;
    expect(await whyDown(thief)).toMatchObject({ code: 'CERT_REVOKED' });
    expect(honest.state).toBe('up');
    const [hash = ''] = old.chunks.keys();
    await expect(chunkSource(gateway.port, await pki.device('ct-1'), ct).get(hash)).rejects.toMatchObject({ code: 'CERT_REFUSED_BY_PEER' });
    await expect(chunkSource(gateway.port, await pki.device('ct-2'), ct).get(hash)).resolves.toHaveLength(old.chunks.get(hash)?.length ?? 0);

    // Restarted with the line down it still knows, though that bundle never became complete.
    await site.line.close();
    await gateway.close();
    const again = await site.start();
    expect(await whyDown(deviceLink(again.port, await pki.device('ct-1')))).toMatchObject({ code: 'CERT_REVOKED' });
    await untilUp(deviceLink(again.port, await pki.device('ct-2')));
  });

  it('is refused by its neighbour, too, before the content of that bundle is here', async () => {
    const site = await createTestSite(pki);
    site.provider.publish(old, young);
    await site.provider.assign(ct, [old]);
    const gateway = await site.start();
    const credentials = (name: string): string => join(pki.directory, 'credentials', name);
    const rig = { root: site.provider.rootMetadata, credentials };
    const honest = await DeviceRig.create(rig, 'ct-2', join(site.data, '..', 'honest'), `127.0.0.1:${gateway.port}`);
    onTestFinished(() => honest.stop());
    const { port } = await honest.start();
    await honest.log.seen('install.concluded', (line) => line['result'] === 'installed');
    const [chunk = ''] = old.chunks.keys();
    const neighbour = async (name: 'ct-1' | 'ct-2'): Promise<HttpsChunkSource> => {
      const source = new HttpsChunkSource({
        host: '127.0.0.1',
        port,
        credentials: await pki.device(name),
        expect: () => true,
        scope: ct,
        log: silentLog,
        clock: systemClock,
      });
      onTestFinished(() => source.close());
      return source;
    };
    const thief = await neighbour('ct-1');
    await expect(thief.get(chunk)).resolves.toHaveLength(old.chunks.get(chunk)?.length ?? 0);
    stuck(site);
    await site.provider.assign(ct, [young], await naming('ct-1'));
    await honest.log.seen('revoked.cut', (line) => line['identity'] === 'customer/acme/site/north/group/ct/device/ct-1');
    await expect(thief.get(chunk)).rejects.toMatchObject({ code: 'CERT_REFUSED_BY_PEER', context: { refused: 'CERT_REVOKED' } });
    await expect((await neighbour('ct-2')).get(chunk)).resolves.toHaveLength(old.chunks.get(chunk)?.length ?? 0);
  });

  it('is let in again once a later bundle names it no more', async () => {
    const site = await createTestSite(pki);
    site.provider.publish(old);
    await site.provider.assign(ct, [], await naming('ct-1'));
    const gateway = await site.start();
    await expect.poll(() => site.provider.progress.filter(({ phase }) => phase === 'relayed').length, { timeout: 30_000 }).toBe(1);
    const link = deviceLink(gateway.port, await pki.device('ct-1'));
    expect(await whyDown(link)).toMatchObject({ code: 'CERT_REVOKED' });
    await site.provider.assign(ct, []);
    await untilUp(link);
  });
});
