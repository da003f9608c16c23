import { mkdtemp, readdir, rm, symlink, unlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { loadCredentials } from '../../certs/credentials.ts';
import { systemClock } from '../../shared/base/clock.ts';
import { isWardcastError } from '../../shared/base/errors.ts';
import { silentLog } from '../../shared/base/log.ts';
import { HttpsChunkSource } from '../../shared/net/chunk-client.ts';
import { openLink } from '../../shared/net/link.ts';
import { DeviceRig } from '../support/device-rig.ts';
import { bytesOf } from '../support/files.ts';
import { madeRelease } from '../support/made-release.ts';
import { ScriptedGateway, Vendor } from '../support/scripted-gateway.ts';

const ct = { customer: 'acme', site: 'north', group: 'ct' };
const pumps = { customer: 'acme', site: 'north', group: 'pumps' };
const steady = bytesOf('steady', 2_000_000);
const one = madeRelease({ version: '1.0.0', files: { VERSION: '1', 'lib/steady': steady, 'lib/engine': bytesOf('engine 1', 400_000) } });
const two = madeRelease({ version: '2.0.0', files: { VERSION: '2', 'lib/steady': steady, 'lib/engine': bytesOf('engine 2', 400_000) } });
const three = madeRelease({ version: '3.0.0', files: { VERSION: '3', 'lib/steady': steady } });
const driver = madeRelease({ application: 'driver', version: '1.0.0', files: { VERSION: 'd' } });
const ill = madeRelease({
  version: '2.5.0',
  files: { VERSION: 'ill', 'check.sh': '#!/bin/sh\necho no pulse\nexit 4\n' },
  hooks: { check: { path: 'check.sh' } },
});
const all = [one, two, three, ill, driver];

let folder: string;
let vendor: Vendor;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'wardcast-agent-'));
  vendor = await Vendor.create(folder, [
    { group: 'ct', device: 'ct-1' },
    { group: 'ct', device: 'ct-2' },
    { group: 'pumps', device: 'pump-1' },
  ]);
  vendor.publish(...all);
}, 120_000);
afterAll(() => rm(folder, { recursive: true, force: true }));

describe('an agent', () => {
  let gateway: ScriptedGateway;
  let device: DeviceRig;
  let count = 0;
  beforeEach(async () => {
    gateway = await ScriptedGateway.start(vendor);
    device = await DeviceRig.create(vendor, 'ct-1', join(folder, `device-${count++}`), `127.0.0.1:${gateway.port}`);
  });
  afterEach(async () => {
    await device.stop();
    await gateway.close();
  });
  const confirmed = (version: string, result = 'installed', times = 1): Promise<void> =>
    gateway.until(() => gateway.confirmations().filter((c) => c.version === version && c.result === result).length >= times);

  it('says at connect who it is and what it runs, installs what it is offered and confirms it', async () => {
    await device.start();
    await gateway.until(() => gateway.inventories().length > 0);
    expect(gateway.hellos[0]).toMatchObject({ version: '0.1.0', port: device.agent?.port });
    expect(gateway.inventories()[0]).toMatchObject({ counter: 1, applications: [] });
    await gateway.offer(vendor.assign(ct, [one, driver]));
    await confirmed('1.0.0', 'installed', 2);
    expect(await device.runs('viewer', all)).toBe(one);
    expect(await device.runs('driver', all)).toBe(driver);
    const viewer = gateway.confirmations().find((c) => c.application === 'viewer');
    const bytes = [...one.chunks.values()].reduce((sum, chunk) => sum + chunk.length, 0);
    expect(viewer).toMatchObject({
      result: 'installed',
      manifest: one.manifestHash,
      running: { version: '1.0.0' },
      sources: { gateway: bytes, own: 0, peer: 0 },
    });
    expect(gateway.progress.some((p) => p.phase === 'staged' && p.application === 'viewer' && p.done === p.total)).toBe(true);
    await device.log.seen('receipt.recorded', (line) => line['counter'] === viewer?.counter);
  });

  it('fetches only what its old release has not, and asks its gateway when an old file is damaged', async () => {
    await gateway.offer(vendor.assign(ct, [one]));
    await device.start();
    await confirmed('1.0.0');
    const file = join(device.install, 'viewer', 'releases', one.manifestHash, 'lib/steady');
    const damaged = Buffer.from(steady);
    damaged.fill(0, 1_000_000, 1_000_100);
    await rm(file);
    await writeFile(file, damaged);
    const before = gateway.chunksServed;
    await gateway.offer(vendor.assign(ct, [two]));
    await confirmed('2.0.0');
    expect(await device.runs('viewer', all)).toBe(two);
    const missing = [...two.chunks.keys()].filter((hash) => !one.chunks.has(hash)).length;
    // One or two more than the new ones: the chunk (or the two) that the damage lies in.
    expect(gateway.chunksServed - before).toBeGreaterThan(missing);
    expect(gateway.chunksServed - before).toBeLessThanOrEqual(missing + 2);
    const sources = gateway.confirmations().find((c) => c.version === '2.0.0')?.sources;
    expect(sources?.own).toBeGreaterThan(1_400_000);
  });

  it('refuses a downgrade once per bundle and runs it when it is signed as wanted', async () => {
    await gateway.offer(vendor.assign(ct, [two]));
    await device.start();
    await confirmed('2.0.0');
    await gateway.offer(vendor.assign(ct, [one]));
    await confirmed('1.0.0', 'refused');
    expect(gateway.confirmations().at(-1)).toMatchObject({ reason: { code: 'DOWNGRADE_REFUSED' }, running: { version: '2.0.0' } });
    // The same offer again changes nothing.
    const refusals = gateway.confirmations().length;
    await gateway.offer(vendor.assign(ct, [one], { allowDowngrade: true }));
    await confirmed('1.0.0', 'installed');
    expect(gateway.confirmations().length).toBe(refusals + 1);
    expect(await device.runs('viewer', all)).toBe(one);
  });

  it('rolls back what fails its health check, says so once, and other applications go on', async () => {
    await gateway.offer(vendor.assign(ct, [one]));
    await device.start();
    await confirmed('1.0.0');
    await gateway.offer(vendor.assign(ct, [ill, driver]));
    await confirmed('2.5.0', 'rolled-back');
    await gateway.until(() => gateway.confirmations().some((c) => c.application === 'driver'));
    expect(await device.runs('viewer', all)).toBe(one);
    expect(gateway.confirmations().find((c) => c.version === '2.5.0')).toMatchObject({
      reason: { code: 'CHECK_FAILED', message: expect.stringContaining('no pulse') },
      running: { version: '1.0.0', manifest: one.manifestHash },
    });
    // Started again, and offered the same again: not tried again.
    await device.stop();
    await device.start();
    await gateway.until(() => gateway.inventories().length >= 2);
    await gateway.offer(vendor.assign(ct, [three, driver]));
    await confirmed('3.0.0');
    expect(gateway.confirmations().filter((c) => c.version === '2.5.0')).toHaveLength(1);
  });

  it('keeps what it has to say until a receipt comes, and counts on from where the provider is', async () => {
    gateway.receipt = () => undefined;
    await gateway.offer(vendor.assign(ct, [one]));
    await device.start();
    await confirmed('1.0.0');
    await device.stop();
    let behind = true;
    gateway.receipt = ({ counter }) => {
      if (counter < 1000 && behind) return { outcome: 'behind', highest: 1000 };
      behind = false;
      return { outcome: 'recorded', highest: counter };
    };
    const from = gateway.statements.length;
    await device.start();
    await gateway.until(() => gateway.statements.slice(from).some((s) => s.type === 'confirmation' && s.counter > 1000));
    await gateway.until(() => gateway.inventories().some((s) => s.counter > 1000));
    const again = gateway.confirmations().filter((c) => c.counter > 1000);
    expect(again).toHaveLength(1);
    expect(again[0]).toMatchObject({ version: '1.0.0', result: 'installed' });
    expect(gateway.statements.slice(from).some((s) => s.type === 'confirmation' && s.counter < 1000)).toBe(true);
  });

  it('is updated again after it was reflashed to an older release', async () => {
    await gateway.offer(vendor.assign(ct, [one]));
    await device.start();
    await confirmed('1.0.0');
    await gateway.offer(vendor.assign(ct, [two]));
    await confirmed('2.0.0');
    await device.stop();
    const current = join(device.install, 'viewer', 'current');
    await unlink(current);
    await symlink(`releases/${one.manifestHash}`, current);
    await device.start();
    await confirmed('2.0.0', 'installed', 2);
    expect(await device.runs('viewer', all)).toBe(two);
  });

  it('finishes with the line down what it had staged: it needs nobody for the bundle it has verified', async () => {
    await gateway.offer(vendor.assign(ct, [one]));
    await device.start();
    await confirmed('1.0.0');
    await device.stop();
    await rm(join(device.install, 'viewer', 'current'));
    const { port } = gateway;
    await gateway.close();
    await device.start();
    await device.log.seen('install.concluded', (line) => line['result'] === 'installed');
    expect(await device.runs('viewer', all)).toBe(one);
    gateway = await ScriptedGateway.start(vendor, { port });
    await confirmed('1.0.0');
  });

  it('fetches over MQTT where nothing but the broker answers', async () => {
    const { port } = gateway;
    await gateway.close();
    gateway = await ScriptedGateway.start(vendor, { port, https: false, swarm: false });
    await gateway.offer(vendor.assign(ct, [one]));
    await device.start();
    await confirmed('1.0.0');
    expect(await device.runs('viewer', all)).toBe(one);
  });

  describe('with a gateway that lies', () => {
    beforeEach(async () => {
      await gateway.offer(vendor.assign(ct, [one]));
      await device.start();
      await confirmed('1.0.0');
    });

    it('never installs altered chunks, says why, and installs when it stops lying', async () => {
      gateway.onRead = (kind, _name, bytes) => {
        if (kind !== 'chunk' || bytes === undefined) return bytes;
        const altered = Buffer.from(bytes);
        altered.writeUInt8(altered.readUInt8(0) ^ 255, 0);
        return altered;
      };
      await gateway.offer(vendor.assign(ct, [two]));
      await confirmed('2.0.0', 'failed');
      expect(gateway.confirmations().at(-1)).toMatchObject({ reason: { code: 'HASH_MISMATCH' }, running: { version: '1.0.0' } });
      expect(await device.runs('viewer', all)).toBe(one);
      gateway.onRead = (_kind, _name, bytes) => bytes;
      await confirmed('2.0.0');
      expect(await device.runs('viewer', all)).toBe(two);
      expect(gateway.confirmations().filter((c) => c.result === 'failed')).toHaveLength(1);
    });

    it('never goes back to old metadata', async () => {
      const old = vendor.assign(ct, [one]);
      await gateway.offer(vendor.assign(ct, [two]));
      await confirmed('2.0.0');
      await gateway.offer(old);
      await device.log.seen('offer.refused', (line) => isWardcastError(line['error'], 'METADATA_ROLLBACK'));
      expect(await device.runs('viewer', all)).toBe(two);
    });

    it("never takes another group's bundle", async () => {
      const foreign = vendor.assign(pumps, [three]);
      await gateway.offer({ ...foreign, scope: ct, sequence: 99, timestampVersion: 99 });
      const line = await device.log.seen('offer.refused');
      expect(line['error']).toSatisfy((error) => isWardcastError(error));
      expect(await device.runs('viewer', all)).toBe(one);
    });

    it('is not drowned in endless metadata', async () => {
      const next = vendor.assign(ct, [two]);
      for (const name of next.objects.keys()) if (/timestamp/.test(name)) next.objects.set(name, Buffer.alloc(32 * 1024 * 1024, 'a'));
      await gateway.offer(next);
      const line = await device.log.seen('offer.refused');
      expect(line['error']).toSatisfy((error) => isWardcastError(error));
      expect(await device.runs('viewer', all)).toBe(one);
    });
  });

  it('serves its own group, and nobody else, what it has installed', async () => {
    await gateway.offer(vendor.assign(ct, [one]));
    const { port } = await device.start();
    await confirmed('1.0.0');
    await device.log.seen('install.concluded');
    const ask = async (name: string, scope: typeof ct): Promise<string> => {
      const source = new HttpsChunkSource({
        host: '127.0.0.1',
        port,
        credentials: await loadCredentials(vendor.credentials(name), systemClock),
        expect: () => true,
        scope,
        log: silentLog,
        clock: systemClock,
      });
      try {
        const [hash = ''] = one.chunks.keys();
        return (await source.get(hash)).equals(one.chunks.get(hash) ?? Buffer.alloc(0)) ? 'served' : 'altered';
      } catch (error) {
        return isWardcastError(error) ? error.code : String(error);
      } finally {
        source.close();
      }
    };
    expect(await ask('ct-2', ct)).toBe('served');
    expect(await ask('gw', ct)).toBe('served');
    expect(await ask('gw', pumps)).not.toBe('served');
    expect(await ask('pump-1', ct)).not.toBe('served');
    expect(await ask('pump-1', pumps)).not.toBe('served');
    expect(await ask('provider', ct)).not.toBe('served');
    // And there is no broker at a device's door.
    const link = openLink({
      host: '127.0.0.1',
      port,
      credentials: await loadCredentials(vendor.credentials('ct-2'), systemClock),
      expect: () => true,
      log: silentLog,
      clock: systemClock,
    });
    expect(await new Promise((resolve) => link.onState((state) => resolve(state)))).toBe('down');
    await link.close();
  });

  it('has no use for a gateway that proves to be something else', async () => {
    await device.configure(vendor.credentials('ct-1'), `127.0.0.1:${gateway.port}`);
    const impostor = await DeviceRig.create(vendor, 'ct-2', join(folder, `device-${count++}`), `127.0.0.1:${gateway.port}`);
    const { port } = await impostor.start();
    await device.configure(vendor.credentials('ct-1'), `127.0.0.1:${port}`);
    await device.start();
    await device.log.seen('gateway.refused');
    expect(device.log.all('gateway.connected')).toEqual([]);
    await impostor.stop();
  });

  it('leaves nothing half done in its folders', async () => {
    await gateway.offer(vendor.assign(ct, [one]));
    await device.start();
    await confirmed('1.0.0');
    await gateway.offer(vendor.assign(ct, [two]));
    await confirmed('2.0.0');
    expect((await readdir(join(device.install, 'viewer'))).sort()).toEqual(['current', 'manifests', 'previous', 'releases', 'staging']);
    expect(await readdir(join(device.install, 'viewer', 'staging'))).toEqual([]);
  });
});
