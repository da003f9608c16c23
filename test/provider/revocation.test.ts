import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { type Credentials, loadCredentials } from '../../certs/credentials.ts';
import { issueDevice, issueGateway, issueOps } from '../../certs/pki-directory.ts';
import type { Provider } from '../../provider/provider.ts';
import { systemClock } from '../../shared/base/clock.ts';
import { silentLog } from '../../shared/base/log.ts';
import { type Bundle, parseBundle } from '../../shared/bundle/bundle.ts';
import { ObjectPuller } from '../../shared/net/exchange/puller.ts';
import { OpsClient, type OpsEvent } from '../../shared/net/ops-client.ts';
import { Offer } from '../../shared/wire/messages.ts';
import { isoSeconds } from '../../shared/wire/revocation.ts';
import { whyDown } from '../support/broker-rig.ts';
import { Operator, Uplinked, Vendor } from './provider-rig.ts';
import { confirmation } from './statements.ts';

/** The provider as a whole, with real TLS; the site's gateway is this test. */
let vendor: Vendor;
let data = '';
let provider: Provider;
let ops: Operator;
let gateway: Uplinked;

const CT_1 = 'customer/acme/site/north/group/ct/device/ct-1';
const GW_1 = 'customer/acme/site/north/gateway/gw-1';

beforeAll(async () => {
  vendor = await Vendor.found();
});
afterAll(() => vendor.close());
beforeEach(async () => {
  data = await mkdtemp(join(tmpdir(), 'wardcast-provider-'));
  provider = await vendor.inProcess(data);
  ops = await new Operator(vendor.credentials('ops'), provider.port).up();
  await ops.founded();
  gateway = await new Uplinked(vendor.credentials('gateway'), provider.port).up();
  await gateway.hello();
});
afterEach(async () => {
  await ops.close();
  await gateway.close();
  await provider.close();
  await rm(data, { recursive: true, force: true });
});

/** The bundle of this group that the next fitting offer leads to, as the gateway pulls it. */
async function bundleThat(fits: (bundle: Bundle) => boolean, group = 'ct'): Promise<Bundle> {
  const puller = new ObjectPuller({ link: gateway.link, identity: gateway.credentials.identity, log: silentLog, clock: systemClock });
  try {
    for (let from = 0; ; ) {
      const offered = await gateway.hears((verb, payload) => {
        if (verb !== 'offer') return undefined;
        const parsed = Offer.parse(JSON.parse(payload.toString()));
        return parsed.group === group && parsed.timestampVersion > from ? parsed : undefined;
      });
      from = offered.timestampVersion;
      const entries = await ops.call('log.list', { from: 0, limit: 1000 });
      const hash = entries.findLast(({ change }) => change.type === 'bundle-assigned' && change['group'] === group && change['sequence'] === offered.sequence)
        ?.change['bundle'];
      const bundle = parseBundle(await puller.get({ group, kind: 'target', name: String(hash) }));
      if (fits(bundle)) return bundle;
    }
  } finally {
    await puller.close();
  }
}

async function reissued(name: 'device' | 'gateway', notBefore: Date): Promise<Credentials> {
  const out = join(data, `again-${name}`);
  const where = { directory: join(vendor.directory, 'pki'), out, customer: 'acme', site: 'north', notBefore };
  if (name === 'device') await issueDevice({ ...where, group: 'ct', device: 'ct-1' });
  else await issueGateway({ ...where, gateway: 'gw-1' });
  return loadCredentials(out, systemClock);
}

describe('a device that is revoked', () => {
  it('is named in the next signed bundle of its group, unasked, though nothing was ever assigned to the group', async () => {
    const done = await ops.call('device.revoke', { customer: 'acme', device: 'ct-1', reason: 'stolen' });
    expect(done).toMatchObject({ identity: CT_1 });
    expect(await bundleThat(() => true)).toMatchObject({ sequence: 1, releases: [], revoked: [{ identity: CT_1, until: done.until }] });
    expect(await ops.call('revocation.list', { customer: 'acme' })).toMatchObject([{ identity: CT_1, until: done.until, reason: 'stolen', travels: true }]);
    expect(await ops.call('registry.check', {})).toMatchObject({ differences: [] });
  });

  it('states nothing any more with that key, though what was recorded before is receipted still, and again with a newer certificate', async () => {
    const before = confirmation('ct-1', 1);
    expect(await gateway.state(before, vendor.credentials('ct-1'))).toMatchObject({ outcome: 'recorded' });
    await ops.call('device.revoke', { customer: 'acme', device: 'ct-1', until: isoSeconds(Date.now() - 10_000), reason: 'stolen' });
    const refused = await gateway.state(confirmation('ct-1', 2, { version: '6.6.6' }), vendor.credentials('ct-1'));
    expect(refused).toMatchObject({ outcome: 'refused', reason: expect.stringContaining('revoked') });
    expect(await gateway.state(confirmation('ct-2', 1), vendor.credentials('ct-2'))).toMatchObject({ outcome: 'recorded' });
    const fresh = await reissued('device', new Date(Date.now() - 5000));
    expect(await gateway.state(confirmation('ct-1', 3), fresh)).toMatchObject({ outcome: 'recorded' });
    gateway.heard.length = 0;
    expect(await gateway.state(before, vendor.credentials('ct-1'))).toMatchObject({ outcome: 'recorded' });
  });

  it('is told of as an event, with the reason', async () => {
    const client = await OpsClient.connect({
      host: '127.0.0.1',
      port: provider.port,
      credentials: vendor.credentials('ops'),
      log: silentLog,
      clock: systemClock,
    });
    const stop = new AbortController();
    const heard = Promise.withResolvers<OpsEvent>();
    const listening = (async () => {
      for await (const event of client.events({ signal: stop.signal })) if (event.type === 'revoked') heard.resolve(event);
    })();
    await ops.call('device.revoke', { customer: 'acme', device: 'ct-1', reason: 'left in a taxi' });
    expect(await heard.promise).toMatchObject({ type: 'revoked', body: { what: 'device', identity: CT_1, reason: 'left in a taxi' } });
    stop.abort();
    await listening;
    await client.close();
  });

  it('is asked for by name: an unknown one is refused, a removed one is found by its place', async () => {
    await expect(ops.call('device.revoke', { customer: 'acme', device: 'ct-9', reason: 'x' })).rejects.toMatchObject({ code: 'NOT_FOUND' });
    await ops.call('device.remove', { customer: 'acme', device: 'ct-1' });
    await ops.call('device.revoke', { customer: 'acme', device: 'ct-1', site: 'north', group: 'ct', reason: 'stolen' });
    await bundleThat((bundle) => bundle.revoked?.[0]?.identity === CT_1);
  });
});

describe('a device that moved', () => {
  it('loses the rights of its old group with the move, in the signed bundle of that group', async () => {
    await ops.call('device.move', { customer: 'acme', device: 'ct-1', site: 'north', group: 'pumps' });
    await bundleThat((bundle) => bundle.revoked?.[0]?.identity === CT_1);
    const entries = await ops.call('log.list', { from: 0, limit: 1000 });
    expect(entries.find(({ change }) => change.type === 'device-moved')?.change).toMatchObject({ from: { site: 'north', group: 'ct' } });
    // Where it is already nothing is lost.
    await ops.call('device.move', { customer: 'acme', device: 'ct-2', site: 'north', group: 'ct' });
    expect(await ops.call('revocation.list', {})).toHaveLength(1);
  });
});

describe('a gateway that is revoked', () => {
  it('is cut off and refused at the provider’s door, also after a restart, and named in every bundle of its site', async () => {
    await ops.call('device.revoke', { customer: 'acme', device: 'ct-2', reason: 'so that there is a bundle' });
    await bundleThat(() => true);
    const down = whyDown(gateway.link);
    await ops.call('gateway.revoke', { customer: 'acme', site: 'north', gateway: 'gw-1', reason: 'stolen' });
    await down;
    expect(await whyDown(gateway.link)).toMatchObject({ code: 'CERT_REVOKED' });
    const assigned = async (): Promise<unknown> => {
      const entries = await ops.call('log.list', { from: 0, limit: 1000 });
      return entries.findLast(({ change }) => change.type === 'bundle-assigned')?.change['revoked'];
    };
    await expect.poll(assigned, { timeout: 30_000 }).toMatchObject([{ identity: expect.stringContaining('ct-2') }, { identity: GW_1 }]);
    await ops.close();
    await provider.close();
    provider = await vendor.inProcess(data);
    ops = await new Operator(vendor.credentials('ops'), provider.port).up();
    const again = new Uplinked(vendor.credentials('gateway'), provider.port);
    expect(await whyDown(again.link)).toMatchObject({ code: 'CERT_REVOKED' });
    await again.close();
  });

  it('can be replaced under its own name by one with a newer certificate', async () => {
    await ops.call('gateway.revoke', { customer: 'acme', site: 'north', gateway: 'gw-1', until: isoSeconds(Date.now() - 10_000), reason: 'replaced' });
    const fresh = await new Uplinked(await reissued('gateway', new Date(Date.now() - 5000)), provider.port).up();
    await fresh.close();
  });
});

describe('an operator who is revoked', () => {
  const operator = async (name: string, notBefore?: Date): Promise<Credentials> => {
    const out = join(data, `ops-${name}-${notBefore === undefined ? 'first' : 'again'}`);
    await issueOps({ directory: join(vendor.directory, 'pki'), out, name, ...(notBefore === undefined ? {} : { notBefore }) });
    return loadCredentials(out, systemClock);
  };

  it('is cut off while connected and refused at the provider’s door, also after a restart, until there is a newer certificate', async () => {
    const stolen = await operator('mallory');
    const thief = await new Operator(stolen, provider.port).up();
    expect(await thief.call('customer.list', {})).toHaveLength(1);
    const down = whyDown(thief.link);
    const until = isoSeconds(Date.now() - 10_000);
    const done = await ops.call('ops.revoke', { name: 'mallory', until, reason: 'left the company' });
    expect(done).toMatchObject({ identity: 'ops/mallory', until });
    await down;
    expect(await whyDown(thief.link)).toMatchObject({ code: 'CERT_REVOKED' });
    expect(await ops.call('revocation.list', {})).toMatchObject([{ identity: 'ops/mallory', until, reason: 'left the company', travels: false }]);
    expect(await ops.call('registry.check', {})).toMatchObject({ differences: [] });
    await thief.close();
    await ops.close();
    await provider.close();
    provider = await vendor.inProcess(data);
    ops = await new Operator(vendor.credentials('ops'), provider.port).up();
    const again = new Operator(stolen, provider.port);
    expect(await whyDown(again.link)).toMatchObject({ code: 'CERT_REVOKED' });
    await again.close();
    const fresh = await new Operator(await operator('mallory', new Date(Date.now() - 5000)), provider.port).up();
    await fresh.close();
  });

  it('is never who gives the order', async () => {
    const { identity } = vendor.credentials('ops');
    if (identity.role !== 'ops') throw new Error('no operator');
    await expect(ops.call('ops.revoke', { name: identity.name, reason: 'x' })).rejects.toMatchObject({ code: 'CONFLICT' });
    expect(await ops.call('revocation.list', {})).toEqual([]);
  });
});

describe('a customer that leaves', () => {
  it('is cut off and refused, gets no bundle any more, and stays in the registry, marked', async () => {
    const down = whyDown(gateway.link);
    await ops.call('customer.retire', { customer: 'acme', reason: 'contract ended' });
    await down;
    expect(await whyDown(gateway.link)).toMatchObject({ code: 'CERT_REVOKED' });
    expect(await ops.call('customer.list', {})).toMatchObject([{ customer: 'acme', retired: { reason: 'contract ended' } }]);
    expect(await ops.call('device.list', { customer: 'acme' })).toHaveLength(2);
    await ops.publishRelease(await vendor.release('viewer', '1.0.0'));
    await ops.call('current.set', { customer: 'acme', group: 'ct', site: null, application: 'viewer', version: '1.0.0', allowDowngrade: false });
    await expect(ops.call('customer.retire', { customer: 'acme', reason: 'again' })).rejects.toMatchObject({ code: 'CONFLICT' });
    // A second customer is planned for after it: whatever the plan would do about the first is done by then.
    await ops.call('customer.add', { customer: 'bert' });
    await ops.call('site.add', { customer: 'bert', site: 'west' });
    await ops.call('group.add', { customer: 'bert', group: 'ct' });
    await ops.call('device.add', { customer: 'bert', site: 'west', group: 'ct', device: 'ct-9' });
    await ops.call('current.set', { customer: 'bert', group: 'ct', site: null, application: 'viewer', version: '1.0.0', allowDowngrade: false });
    const assigned = async (): Promise<unknown[]> =>
      (await ops.call('log.list', { from: 0, limit: 1000 })).filter(({ change }) => change.type === 'bundle-assigned').map(({ change }) => change['customer']);
    await expect.poll(assigned, { timeout: 30_000 }).toEqual(['bert']);
    expect(await ops.call('registry.check', {})).toMatchObject({ differences: [] });
  });
});

describe('a group whose earlier CAs are retired', () => {
  it('says so in the bundles of all its sites, takes no statement under them, and never goes back', async () => {
    await ops.call('device.revoke', { customer: 'acme', device: 'ct-2', reason: 'so that there is a bundle' });
    await bundleThat(() => true);
    await ops.call('group.retire-ca', { customer: 'acme', group: 'ct', oldest: 2, reason: 'its key leaked' });
    expect(await bundleThat((bundle) => bundle.oldestCa !== undefined)).toMatchObject({ oldestCa: 2 });
    expect(await gateway.state(confirmation('ct-1', 1), vendor.credentials('ct-1'))).toMatchObject({
      outcome: 'refused',
      reason: expect.stringContaining('Generation 1'),
    });
    await expect(ops.call('group.retire-ca', { customer: 'acme', group: 'ct', oldest: 2, reason: 'again' })).rejects.toMatchObject({ code: 'CONFLICT' });
    expect(await ops.call('registry.check', {})).toMatchObject({ differences: [] });
  });
});
