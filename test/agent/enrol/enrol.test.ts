import { readdir, rm, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Ticket } from '../../../agent/enrol/enrol.ts';
import { loadCredentials } from '../../../certs/credentials.ts';
import { verifyChain } from '../../../certs/identity.ts';
import { gatewayDesk } from '../../../cli/gateway-desk.ts';
import { systemClock } from '../../../shared/base/clock.ts';
import { silentLog } from '../../../shared/base/log.ts';
import { makeCode, parseCode, printCode, verifierOf } from '../../../shared/wire/enrol-code.ts';
import { isoSeconds } from '../../../shared/wire/revocation.ts';
import { Vendor } from '../../provider/provider-rig.ts';
import { EnrolmentRig } from '../../support/enrolment-rig.ts';

let vendor: Vendor;
beforeAll(async () => {
  vendor = await Vendor.found();
});
afterAll(() => vendor.close());

const code = (text: string): { kind: 'code'; text: string } => ({ kind: 'code', text });

describe('A device without a certificate', () => {
  it('gets one with a code: for its own key, at the site and in the group of the code, and is registered', async () => {
    const rig = await EnrolmentRig.open(vendor);
    const folder = await rig.shipped('ct-9');
    const credentials = await rig.enrol('ct-9', code(await rig.token()), { directory: folder });
    expect(credentials.identity).toEqual({ role: 'device', customer: 'acme', site: 'north', group: 'ct', device: 'ct-9' });
    expect(await readdir(folder)).toEqual(['leaf.pem', 'root.pem']);
    expect((await stat(join(folder, 'leaf.pem'))).mode & 0o777).toBe(0o600);
    expect((await loadCredentials(folder, systemClock)).chainPem).toBe(credentials.chainPem);
    expect(await rig.ops.call('device.list', {})).toContainEqual({ customer: 'acme', site: 'north', group: 'ct', device: 'ct-9' });
    expect((await rig.ops.call('registry.check', {})).differences).toEqual([]);
  });

  it.each<[string, (rig: EnrolmentRig) => Promise<string>]>([
    ['that was never made', async () => printCode(makeCode())],
    ['whose secret is wrong', async (rig) => printCode({ ...parseCode(await rig.token()), secret: makeCode().secret })],
    ['that is for another site', (rig) => southern(rig)],
  ])('hears the same refusal for a code %s', async (_what, made) => {
    const rig = await EnrolmentRig.open(vendor);
    const refused = { code: 'ENROL_REFUSED', message: 'This request is not accepted. Whoever operates the provider can see why.' };
    await expect(rig.enrol('ct-9', code(await made(rig)))).rejects.toMatchObject(refused);
    expect(await rig.ops.call('device.list', {})).toHaveLength(2);
  });

  it('is refused with a code that is used up, expired, revoked or for another device, and told so: it has proven to hold it', async () => {
    const rig = await EnrolmentRig.open(vendor);
    const once = await rig.token({ count: 1 });
    await rig.enrol('ct-10', code(once));
    await expect(rig.enrol('ct-11', code(once))).rejects.toMatchObject({ code: 'ENROL_REFUSED', message: expect.stringContaining('used up') });
    const listed = await rig.token({ devices: ['ct-20'] });
    await expect(rig.enrol('ct-21', code(listed))).rejects.toMatchObject({ message: expect.stringContaining('not for device ct-21') });
    await rig.enrol('ct-20', code(listed));
    const revoked = await rig.token();
    await rig.ops.call('enrol.revoke', { token: parseCode(revoked).token });
    await expect(rig.enrol('ct-12', code(revoked))).rejects.toMatchObject({ message: expect.stringContaining('revoked') });
    const short = await rig.token({ lifetime: 1 });
    await systemClock.sleep(1100);
    await expect(rig.enrol('ct-13', code(short))).rejects.toMatchObject({ message: expect.stringContaining('expired') });
    expect((await rig.ops.call('enrol.tokens', {})).map((row) => row.used).sort()).toEqual([0, 0, 1, 1]);
  });

  it('gets its certificate again when the first answer was lost, on the same code', async () => {
    const rig = await EnrolmentRig.open(vendor);
    const text = await rig.token({ count: 1 });
    const folder = await rig.shipped('ct-9');
    const first = await rig.enrol('ct-9', code(text), { directory: folder });
    // As if the answer had not come: the key waits, and there is no leaf.
    await writeFile(join(folder, 'next.pem'), first.keyPem, { mode: 0o600 });
    await rm(join(folder, 'leaf.pem'));
    const second = await rig.enrol('ct-9', code(text), { directory: folder });
    expect(second.keyPem).toBe(first.keyPem);
    expect(second.chainPem).not.toBe(first.chainPem);
  });

  it('gets nothing from a provider that certifies nobody, and the line being down means waiting', async () => {
    const rig = await EnrolmentRig.open(vendor, { issuing: false });
    await expect(rig.enrol('ct-9', code(await rig.token()))).rejects.toMatchObject({ code: 'ENROL_REFUSED' });
    const text = await rig.token();
    await rig.provider.close();
    const stop = new AbortController();
    const waiting = rig.enrol('ct-9', code(text), { signal: stop.signal, log: { ...silentLog, info: () => stop.abort() } });
    await expect(waiting).rejects.toMatchObject({ code: 'ABORTED' });
  });

  it('with the claim it was shipped with waits for approval, which is durable, and is rejected or approved by hand', async () => {
    const rig = await EnrolmentRig.open(vendor);
    const ticket = await claim(rig, 'batch-7');
    const asked = Promise.withResolvers<string>();
    const folder = await rig.shipped('ct-9');
    const waiting = rig.enrol('ct-9', ticket, { directory: folder, onPending: asked.resolve });
    const rejected = expect(waiting).rejects.toMatchObject({ code: 'ENROL_REFUSED', message: expect.stringContaining('rejected') });
    const key = await asked.promise;
    expect(await rig.ops.call('enrol.list', {})).toMatchObject([
      { customer: 'acme', site: 'north', group: 'ct', device: 'ct-9', key, by: 'claim', name: 'batch-7' },
    ]);
    await rig.ops.call('enrol.decide', { customer: 'acme', device: 'ct-9', approved: false });
    await rejected;
    expect(await rig.ops.call('enrol.list', {})).toEqual([]);
    await rig.ops.call('enrol.decide', { customer: 'acme', device: 'ct-9', key: key.slice(0, 16), approved: true });
    expect((await rig.enrol('ct-9', ticket, { directory: folder })).identity).toMatchObject({ group: 'ct', device: 'ct-9' });
    expect((await rig.ops.call('registry.check', {})).differences).toEqual([]);
  });

  it('with a claim is approved at once when ops have registered it: the registry is the allow-list', async () => {
    const rig = await EnrolmentRig.open(vendor);
    await rig.ops.call('device.add', { customer: 'acme', device: 'ct-30', site: 'north', group: 'ct' });
    expect((await rig.enrol('ct-30', await claim(rig, 'batch-7'))).identity).toMatchObject({ device: 'ct-30' });
    // Nothing here certifies the other group, and a claim of it does not reach into this one.
    await rig.ops.call('device.add', { customer: 'acme', device: 'ct-31', site: 'north', group: 'ct' });
    await expect(rig.enrol('ct-31', await claim(rig, 'foreign', 'pumps'))).rejects.toMatchObject({ code: 'ENROL_REFUSED' });
  });

  it('gets nothing with a claim from a CA that is retired', async () => {
    const rig = await EnrolmentRig.open(vendor);
    await rig.ops.call('device.add', { customer: 'acme', device: 'ct-30', site: 'north', group: 'ct' });
    await rig.ops.call('group.retire-ca', { customer: 'acme', group: 'ct', oldest: 2, reason: 'its key leaked' });
    await expect(rig.enrol('ct-30', await claim(rig, 'batch-7'))).rejects.toMatchObject({ code: 'ENROL_REFUSED', message: expect.stringContaining('retired') });
  });

  it('gets one that is good under a name revoked a moment ago', async () => {
    const rig = await EnrolmentRig.open(vendor);
    await rig.ops.call('device.add', { customer: 'acme', device: 'ct-9', site: 'north', group: 'ct' });
    const { until } = await rig.ops.call('device.revoke', { customer: 'acme', device: 'ct-9', until: isoSeconds(Date.now() - 10_000), reason: 'stolen' });
    const { chain, rootPem } = await rig.enrol('ct-9', code(await rig.token()));
    expect(verifyChain(chain, rootPem, { now: Date.now(), usage: 'client' }).issued).toBeGreaterThan(Date.parse(until));
  });

  it('may not take a name that another device holds: refused, an event, an alarm in the status; ops release the name, and dismiss the alarm', async () => {
    const rig = await EnrolmentRig.open(vendor);
    await rig.enrol('ct-9', code(await rig.token()));
    const wiped = await rig.shipped('ct-9-wiped');
    const text = await rig.token({ count: 2 });
    await expect(rig.enrol('ct-9', code(text), { directory: wiped })).rejects.toMatchObject({ code: 'ENROL_DUPLICATE' });
    await expect(rig.enrol('ct-9', code(text), { directory: wiped })).rejects.toMatchObject({ code: 'ENROL_DUPLICATE' });
    expect((await rig.ops.call('status', {})).alarms).toMatchObject([
      { type: 'enrolment-duplicate', customer: 'acme', site: 'north', device: 'ct-9', count: 2 },
    ]);
    await rig.ops.call('enrol.release', { customer: 'acme', device: 'ct-9' });
    await rig.enrol('ct-9', code(text), { directory: wiped });
    expect(await rig.ops.call('alarm.dismiss', { customer: 'acme', device: 'ct-9' })).toEqual({ dismissed: 1 });
    expect((await rig.ops.call('status', {})).alarms).toEqual([]);
    expect((await rig.ops.call('registry.check', {})).differences).toEqual([]);
  });

  it('a site’s administrator makes codes at the gateway, for that site alone', async () => {
    const rig = await EnrolmentRig.open(vendor);
    const config = join(rig.directory, 'gateway.toml');
    await writeFile(
      config,
      `data = "x"\ncredentials = "gateway"\nroot = "x"\n[uplink]\nhost = "127.0.0.1"\nport = ${rig.provider.port}\n[lan]\nhost = "127.0.0.1"\n`,
    );
    const give = await gatewayDesk(config, new AbortController().signal);
    const made = makeCode();
    const terms = { token: made.token, verifier: await verifierOf(made), group: 'ct', count: 1, lifetime: 600, devices: [], byHand: false };
    expect(await give(terms)).toMatchObject({ customer: 'acme', site: 'north' });
    await expect(give(terms)).rejects.toMatchObject({ code: 'CONFLICT' });
    expect((await rig.enrol('ct-40', code(printCode(made)))).identity).toMatchObject({ site: 'north', device: 'ct-40' });
    const [entry] = (await rig.ops.call('log.list', { from: 1, limit: 1000 })).filter((row) => row.change.type === 'token-added');
    expect(entry).toMatchObject({ actor: 'customer/acme/site/north/gateway/gw-1', change: { site: 'north' } });
  });
});

async function southern(rig: EnrolmentRig): Promise<string> {
  await rig.ops.call('site.add', { customer: 'acme', site: 'south' });
  return rig.token({ site: 'south' });
}

async function claim(rig: EnrolmentRig, name: string, group?: string): Promise<Ticket> {
  return { kind: 'claim', credentials: await loadCredentials(await rig.claim(name, group), systemClock) };
}
