import { once as firstOf } from 'node:events';
import { cp, mkdir, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { connect } from 'node:tls';
import { afterAll, beforeAll, describe, expect, it, onTestFinished } from 'vitest';
import { startAgent } from '../../../agent/agent.ts';
import { renewalRoad } from '../../../agent/enrol/renew.ts';
import { type Credentials, loadCredentials, loadTimelessCredentials } from '../../../certs/credentials.ts';
import { LiveCredentials } from '../../../certs/live-credentials.ts';
import { issueDevice, issueGateway } from '../../../certs/pki-directory.ts';
import { GatewayConfig } from '../../../gateway/config.ts';
import { startGateway } from '../../../gateway/gateway.ts';
import { systemClock } from '../../../shared/base/clock.ts';
import { LEAF_RENEW_GRACE_DAYS } from '../../../shared/base/limits.ts';
import { type AskRenewal, keepLeafFresh, renewalDue } from '../../../shared/net/enrol/renewal.ts';
import { Vendor } from '../../provider/provider-rig.ts';
import { EnrolmentRig } from '../../support/enrolment-rig.ts';
import { ManualClock } from '../../support/manual-clock.ts';
import { RecordingLog } from '../../support/recording-log.ts';
import { SimulatedLan } from '../../support/simulated-lan.ts';

const DAY = 24 * 60 * 60 * 1000;
let vendor: Vendor;
beforeAll(async () => {
  vendor = await Vendor.found();
});
afterAll(() => vendor.close());

/** A device's folder as it was issued offline, and how it asks through the real gateway. */
async function device(
  rig: EnrolmentRig,
  name: string,
  o: { from?: number; days?: number } = {},
): Promise<{ folder: string; ask: AskRenewal; log: RecordingLog }> {
  const folder = join(rig.directory, 'devices', `${name}-${Math.random()}`);
  const at = { notBefore: new Date(Date.now() + (o.from ?? 0) * DAY), notAfter: new Date(Date.now() + ((o.from ?? 0) + (o.days ?? 90)) * DAY) };
  await issueDevice({ directory: join(vendor.directory, 'pki'), out: folder, customer: 'acme', site: 'north', group: 'ct', device: name, ...at });
  const log = new RecordingLog();
  const config = rig.agentConfig(name, folder);
  return {
    folder,
    log,
    ask: renewalRoad({ config, clock: systemClock, log, discovery: new SimulatedLan(new ManualClock()).host('127.0.0.1'), random: () => 0 }),
  };
}

/** Runs the renewal until it did something: `leaf.renewed` or `leaf.not-renewed`. */
async function once(
  credentials: LiveCredentials,
  { folder, ask, log }: { folder: string; ask: AskRenewal; log: RecordingLog },
  event: string,
): Promise<unknown> {
  const stop = new AbortController();
  const running = keepLeafFresh({ directory: folder, ask, clock: systemClock, log, random: () => 0, credentials }, stop.signal);
  const seen = await log.seen(event);
  stop.abort();
  await running;
  return seen;
}

describe('A leaf', () => {
  it('is due when two thirds of its life are over', async () => {
    const rig = await EnrolmentRig.open(vendor);
    const { folder } = await device(rig, 'ct-1');
    const credentials = await loadCredentials(folder, systemClock);
    expect(Math.abs(renewalDue(credentials) - (Date.now() + 60 * DAY))).toBeLessThan(DAY);
  });

  it('is renewed with a new key, which is in use at once; the same key is certified again when the answer was lost; another one is a clone', async () => {
    const rig = await EnrolmentRig.open(vendor);
    const mine = await device(rig, 'ct-1', { from: -70 });
    const clone = join(rig.directory, 'clone');
    await cp(mine.folder, clone, { recursive: true });
    const credentials = new LiveCredentials(await loadCredentials(mine.folder, systemClock));
    const old: Credentials = await loadCredentials(mine.folder, systemClock);
    await once(credentials, mine, 'leaf.renewed');
    expect(credentials.keyPem).not.toBe(old.keyPem);
    expect(await readdir(mine.folder)).toEqual(['chain.pem', 'key.pem', 'leaf.pem', 'root.pem']);
    expect((await loadCredentials(mine.folder, systemClock)).keyPem).toBe(credentials.keyPem);
    expect((await rig.ops.call('status', {})).alarms).toEqual([]);

    // As if the answer had been lost: the old leaf, and the key that it asked with.
    await writeFile(join(mine.folder, 'next.pem'), credentials.keyPem, { mode: 0o600 });
    await rm(join(mine.folder, 'leaf.pem'));
    const again = new LiveCredentials(await loadCredentials(mine.folder, systemClock));
    await once(again, { ...mine, log: new RecordingLog() }, 'leaf.renewed');
    expect(again.keyPem).toBe(credentials.keyPem);

    const copied = new LiveCredentials(await loadCredentials(clone, systemClock));
    expect(await once(copied, { ...mine, folder: clone, log: new RecordingLog() }, 'leaf.not-renewed')).toMatchObject({ code: 'ENROL_REFUSED' });
    expect((await rig.ops.call('status', {})).alarms).toMatchObject([{ type: 'clone-suspected', device: 'ct-1' }]);
    expect((await rig.ops.call('registry.check', {})).differences).toEqual([]);
  });

  it('that has expired months ago is renewed, and one that expired longer ago than the grace is not', async () => {
    const rig = await EnrolmentRig.open(vendor);
    const stored = await device(rig, 'ct-1', { from: -200 });
    await expect(loadCredentials(stored.folder, systemClock)).rejects.toMatchObject({ code: 'CERT_EXPIRED' });
    const fresh = new LiveCredentials(await loadTimelessCredentials(stored.folder));
    await once(fresh, stored, 'leaf.renewed');
    expect((await loadCredentials(stored.folder, systemClock)).expires.getTime()).toBeGreaterThan(Date.now() + 80 * DAY);

    const forgotten = await device(rig, 'ct-2', { from: -(LEAF_RENEW_GRACE_DAYS + 100) });
    const late = new LiveCredentials(await loadTimelessCredentials(forgotten.folder));
    expect(await once(late, forgotten, 'leaf.not-renewed')).toMatchObject({ status: 'refused', code: 'ENROL_REFUSED' });
  });

  it.each<[string, (rig: EnrolmentRig) => Promise<unknown>]>([
    ['was removed from the registry', (rig) => rig.ops.call('device.remove', { customer: 'acme', device: 'ct-1' })],
    ['was revoked', (rig) => rig.ops.call('device.revoke', { customer: 'acme', device: 'ct-1', reason: 'stolen' })],
    ['moved to another group', (rig) => rig.ops.call('device.move', { customer: 'acme', device: 'ct-1', site: 'north', group: 'pumps' })],
  ])('of a device that %s is not renewed', async (_what, change) => {
    const rig = await EnrolmentRig.open(vendor);
    const mine = await device(rig, 'ct-1', { from: -70 });
    await change(rig);
    const credentials = new LiveCredentials(await loadCredentials(mine.folder, systemClock));
    expect(await once(credentials, mine, 'leaf.not-renewed')).toMatchObject({ status: 'refused' });
    expect(await readdir(mine.folder)).not.toContain('leaf.pem');
  });

  it('renewed under a running agent is what its door shows and its statements are signed with, without a restart', async () => {
    const rig = await EnrolmentRig.open(vendor);
    const mine = await device(rig, 'ct-1', { from: -70 });
    const log = new RecordingLog();
    const config = rig.agentConfig('ct-1', mine.folder);
    const discovery = new SimulatedLan(new ManualClock()).host('127.0.0.1');
    const agent = await startAgent({ config, version: '1.0.0', clock: systemClock, log, discovery, random: () => 0 });
    onTestFinished(() => agent.close());
    await log.seen('leaf.renewed');
    const leaf = await readFile(join(mine.folder, 'leaf.pem'), 'utf8');
    const shown = await shownBy(agent.port, vendor.credentials('ct-2'));
    expect(leaf).toContain(shown.match(/.{1,64}/g)?.join('\n'));
  });

  it('of a gateway is renewed at the provider, and what it says afterwards is heard', async () => {
    const rig = await EnrolmentRig.open(vendor);
    const folder = join(rig.directory, 'second');
    const past = { notBefore: new Date(Date.now() - 200 * DAY), notAfter: new Date(Date.now() - 100 * DAY) };
    await issueGateway({ directory: join(vendor.directory, 'pki'), out: folder, customer: 'acme', site: 'north', gateway: 'gw-2', ...past });
    await mkdir(join(rig.directory, 'second-data'));
    const config = GatewayConfig.parse({
      data: join(rig.directory, 'second-data'),
      credentials: folder,
      root: join(vendor.layout.metadata, '1.root.json'),
      uplink: { host: '127.0.0.1', port: rig.provider.port },
      lan: { host: '127.0.0.1', port: 0 },
    });
    const log = new RecordingLog();
    const discovery = new SimulatedLan(new ManualClock()).host('127.0.0.1');
    const gateway = await startGateway({ config, version: '1.0.0', clock: systemClock, log, discovery });
    onTestFinished(() => gateway.close());
    await log.seen('leaf.renewed');
    await log.seen('uplink.up');
  });
});

async function shownBy(port: number, as: Credentials): Promise<string> {
  const socket = connect({
    host: '127.0.0.1',
    port,
    key: as.keyPem,
    cert: as.chainPem,
    ca: as.rootPem,
    checkServerIdentity: () => undefined,
    ALPNProtocols: ['http/1.1'],
  });
  await firstOf(socket, 'secureConnect');
  const { raw } = socket.getPeerCertificate();
  socket.destroy();
  return raw.toString('base64');
}
