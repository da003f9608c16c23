import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach, expect, it } from 'vitest';
import { issueDevice } from '../../certs/pki-directory.ts';
import { type Clock, systemClock } from '../../shared/base/clock.ts';
import { TIMESTAMP_LIFETIME_DAYS } from '../../shared/base/limits.ts';
import { DeviceRig } from '../support/device-rig.ts';
import { madeRelease } from '../support/made-release.ts';
import { ScriptedGateway, Vendor } from '../support/scripted-gateway.ts';

const DAY = 24 * 3_600_000;
const ct = { customer: 'acme', site: 'north', group: 'ct' };
const one = madeRelease({ version: '1.0.0', files: { VERSION: '1' } });
const two = madeRelease({ version: '2.0.0', files: { VERSION: '2' } });

/** A machine whose wall clock is off by so many milliseconds. */
const off = (ms: number): Clock => ({ ...systemClock, now: () => Date.now() + ms });
const in1970 = off(-Date.now());
const in2099 = off(Date.UTC(2099, 0, 1) - Date.now());
const daysAgo = (days: number): Date => new Date(Date.now() - days * DAY);

let folder: string;
let vendor: Vendor;
let gateway: ScriptedGateway;
let device: DeviceRig;
let count = 0;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'wardcast-agent-time-'));
  vendor = await Vendor.create(folder, [{ group: 'ct', device: 'ct-1' }]);
  vendor.publish(one, two);
  const who = { directory: join(folder, 'pki'), ...ct, device: 'ct-1' };
  // The lower bound of a device that begins with this certificate lies eighty days back.
  await issueDevice({ ...who, out: vendor.credentials('old'), notBefore: daysAgo(80), notAfter: daysAgo(-10) });
  await issueDevice({ ...who, out: vendor.credentials('over'), notBefore: daysAgo(80), notAfter: daysAgo(1) });
}, 120_000);
afterAll(() => rm(folder, { recursive: true, force: true }));
beforeEach(async () => {
  gateway = await ScriptedGateway.start(vendor);
  device = await DeviceRig.create(vendor, 'ct-1', join(folder, `device-${count++}`), `127.0.0.1:${gateway.port}`);
});
afterEach(async () => {
  await device.stop();
  await gateway.close();
});

const withCertificate = (name: string): Promise<void> => device.configure(vendor.credentials(name), `127.0.0.1:${gateway.port}`);
const confirmed = (version: string): Promise<void> =>
  gateway.until(() => gateway.confirmations().some((said) => said.version === version && said.result === 'installed'));
const stale = (): Promise<void> => gateway.offer(vendor.assign(ct, [one], { now: daysAgo(TIMESTAMP_LIFETIME_DAYS + 15) }));
const refused = (): Promise<unknown> =>
  device.log.seen('offer.refused', ({ error }) => error instanceof Error && 'code' in error && error.code === 'METADATA_EXPIRED');

it.each([
  ['1970', in1970],
  ['2099', in2099],
])('a device that believes it is %s installs what it is offered, and says the right time', async (_name, clock) => {
  await device.start({ clock });
  await device.log.seen('time.proven');
  await gateway.offer(vendor.assign(ct, [one]));
  await confirmed('1.0.0');
  const [confirmation] = gateway.confirmations();
  expect(Math.abs(Date.parse(confirmation?.at ?? '') - Date.now())).toBeLessThan(60_000);
  expect(device.log.all('clock.wrong')).toHaveLength(1);
  // What it first said was against what it knew before it was told the time.
  await gateway.until(() => Math.abs((gateway.hellos.at(-1)?.clock ?? 0) - (clock.now() - Date.now()) / 1000) < 120);
});

it.each([
  ['1970', in1970],
  ['2099', in2099],
  ['the day on which the replayed metadata was fresh', off(-(TIMESTAMP_LIFETIME_DAYS + 10) * DAY)],
])('metadata that has expired is refused by a device that believes it is %s', async (_name, clock) => {
  await withCertificate('old');
  await device.start({ clock });
  await device.log.seen('time.proven');
  await stale();
  await refused();
  expect(await device.runs('viewer', [one, two])).toBeUndefined();
  // The honest offer is taken.
  await gateway.offer(vendor.assign(ct, [two]));
  await confirmed('2.0.0');
});

it('a gateway that withholds the time cannot pass expired metadata to a device whose clock is right', async () => {
  await withCertificate('old');
  gateway.time = () => undefined;
  await device.start();
  await stale();
  await refused();
});

it('a clock that is a year ahead holds a device up only until it is told the time', async () => {
  await gateway.offer(vendor.assign(ct, [one]));
  await device.start({ clock: off(366 * DAY) });
  await confirmed('1.0.0');
});

it('a bundle that was taken keeps running when everything has expired, and the agent says what it needs', async () => {
  await device.start({ clock: in1970 });
  await device.log.seen('time.proven');
  await gateway.offer(vendor.assign(ct, [one]));
  await confirmed('1.0.0');
  await device.stop();
  await withCertificate('over');
  for (const clock of [in1970, in2099, systemClock]) {
    await device.start({ clock });
    await device.log.seen('certificate.expired', ({ remedy }) => String(remedy).includes('wardcast pki'));
    const ready = await device.log.seen('ready');
    expect(ready['applications']).toMatchObject([{ application: 'viewer', version: '1.0.0' }]);
    // The gateway refuses it, and says why.
    await device.log.seen('gateway.refused', ({ error }) => error instanceof Error && 'code' in error && error.code === 'CERT_EXPIRED');
    expect(await device.runs('viewer', [one])).toBe(one);
    await device.stop();
  }
  await withCertificate('ct-1');
  await device.start({ clock: in1970 });
  await gateway.offer(vendor.assign(ct, [two]));
  await confirmed('2.0.0');
});
