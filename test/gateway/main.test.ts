import { spawn } from 'node:child_process';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it, onTestFinished } from 'vitest';
import { systemClock } from '../../shared/base/clock.ts';
import { silentLog } from '../../shared/base/log.ts';
import { createBonjourDiscovery } from '../../shared/net/bonjour.ts';
import { up } from '../../shared/wire/topics.ts';
import { Daemon } from '../support/daemon.ts';
import { bytesOf } from '../support/files.ts';
import { chunkSource, createTestPki, createTestSite, ct, deviceLink, statementOf, type TestPki, type TestSite, untilUp } from '../support/gateway-site.ts';
import { seededRandom } from '../support/random.ts';
import { makeRelease } from '../support/scripted-provider.ts';
import { temporaryDirectory } from '../support/temporary-directory.ts';

const MIB = 1024 * 1024;
const main = join(import.meta.dirname, '../../gateway/main.ts');
let pki: TestPki;
beforeAll(async () => {
  pki = await createTestPki();
});
afterAll(() => pki.remove());

async function daemonOf(site: TestSite): Promise<Daemon> {
  const file = await site.writeConfig();
  const daemon = new Daemon('gateway', () => spawn(process.execPath, [main, '--config', file], { stdio: ['ignore', 'ignore', 'pipe'] }));
  onTestFinished(async () => {
    await daemon.kill();
  });
  return daemon;
}

const portOf = (daemon: Daemon): number => Number(daemon.lines.findLast(({ event }) => event === 'ready')?.['port']);

it('starts as a process, says where it listens, advertises itself there, and stops cleanly', async () => {
  const site = await createTestSite(pki);
  const daemon = await daemonOf(site);
  await daemon.start();
  const lan = createBonjourDiscovery({ interface: '127.0.0.1', log: silentLog, clock: systemClock });
  onTestFinished(() => lan.close());
  for await (const found of lan.browse('gateway')) if (found.type === 'up' && found.port === portOf(daemon)) break;
  expect(await daemon.stop()).toBe(0);
});

it('ends with the coded reason when it cannot start', async () => {
  const file = join(await temporaryDirectory(), 'gateway.toml');
  await writeFile(file, 'data = "data"\ncredentals = "x"\n');
  const daemon = new Daemon('gateway', () => spawn(process.execPath, [main, '--config', file], { stdio: ['ignore', 'ignore', 'pipe'] }));
  await expect(daemon.start()).rejects.toThrow();
  const fatal = await daemon.logged(({ event }) => event === 'fatal');
  expect(fatal).toMatchObject({ level: 'error', code: 'CONFIG_INVALID' });
  expect(fatal['message']).toContain('credentals');
});

it('loses no acknowledged statement by a SIGKILL before the receipt', async () => {
  const site = await createTestSite(pki);
  const daemon = await daemonOf(site);
  await daemon.start();
  site.line.cut();
  const credentials = await pki.device('ct-1');
  const link = deviceLink(portOf(daemon), credentials);
  await untilUp(link);
  const made = Array.from({ length: 20 }, (_, index) => statementOf(credentials, index + 1));
  await Promise.all(made.map(({ bytes }) => link.publish(up(credentials.identity, 'statement'), bytes)));
  await daemon.kill();
  await link.close();
  site.line.restore();
  await daemon.start();
  await expect.poll(() => site.provider.statements.length, { timeout: 30_000 }).toBe(20);
  expect(site.provider.statements.map(({ counter }) => counter).sort((a, b) => a - b)).toEqual(made.map(({ statement }) => statement.counter));
});

it('completes a bundle although it is killed at random moments, storing each chunk once', async () => {
  const random = seededRandom(7);
  const site = await createTestSite(pki, { rate: 10 * MIB });
  const release = makeRelease('viewer', '1.0.0', { lib: bytesOf('kill', 8 * MIB) });
  site.provider.publish(release);
  await site.provider.assign(ct, [release]);
  const daemon = await daemonOf(site);
  for (let kill = 0; kill < 3; kill++) {
    const before = site.line.traffic.down;
    await daemon.start();
    await site.line.cameDown(before + Math.floor((0.5 + random()) * MIB));
    await daemon.kill();
  }
  await daemon.start();
  await expect.poll(() => site.provider.progress.some(({ phase }) => phase === 'relayed'), { timeout: 30_000 }).toBe(true);
  await expect.poll(() => site.provider.seen.at(-1)?.line.unique).toBe(8 * MIB);
  const source = chunkSource(portOf(daemon), await pki.device('ct-1'), ct);
  for (const [hash, bytes] of release.chunks) expect((await source.get(hash)).equals(bytes)).toBe(true);
});
