import { execFile } from 'node:child_process';
import { cp, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import mqtt, { type MqttClient } from 'mqtt';
import { expect, it } from 'vitest';
import { issueDevice } from '../../certs/pki-directory.ts';
import { type DeviceIdentity, identityPath } from '../../shared/base/identity.ts';
import { Operator, Vendor } from '../provider/provider-rig.ts';
import { startMosquitto } from '../support/mosquitto.ts';
import { temporaryDirectory } from '../support/temporary-directory.ts';

const program = fileURLToPath(new URL('../../cli/wardcast.mjs', import.meta.url));
const run = promisify(execFile);
const GATEWAY = 'customer/acme/site/north/gateway/gw-1';

/** By the commands themselves: a provider with its registry here, the PKI folder on a machine without a line, and a mosquitto with the list. */
it('leaves out of the list for mosquitto who was revoked, moved or never registered, and lets in who enrolled at the provider', async () => {
  const vendor = await Vendor.found();
  const directory = join(vendor.directory, 'pki');
  const place = { customer: 'acme', site: 'north' };
  const papers = new Map<string, { readonly folder: string; readonly identity: DeviceIdentity }>();
  const issue = async (label: string, device: string, group = 'ct', pki = directory): Promise<void> => {
    const folder = join(vendor.directory, 'credentials', label);
    await issueDevice({ directory: pki, out: folder, ...place, group, device });
    papers.set(label, { folder, identity: { role: 'device', ...place, group, device } });
  };
  for (const name of ['good', 'stolen', 'again', 'moved', 'stranger']) await issue(name, name);
  await issue('moved-now', 'moved', 'pumps');
  // As if the provider had issued it: the folder knows nothing of it.
  const elsewhere = await temporaryDirectory();
  await cp(directory, elsewhere, { recursive: true });
  await issue('enrolled', 'enrolled', 'ct', elsewhere);

  const provider = await vendor.inProcess(await temporaryDirectory());
  const ops = await new Operator(vendor.credentials('ops'), provider.port).up();
  try {
    await ops.founded();
    for (const device of ['good', 'stolen', 'again', 'moved', 'enrolled']) await ops.call('device.add', { ...place, group: 'ct', device });
    await ops.call('device.move', { ...place, device: 'moved', group: 'pumps' });
    await ops.call('device.revoke', { customer: 'acme', device: 'stolen', reason: 'stolen' });
    await ops.call('device.revoke', { customer: 'acme', device: 'again', until: new Date(Date.now() - 60_000).toISOString(), reason: 'its key was copied' });

    const wardcast = async (...args: string[]): Promise<string> => (await run(process.execPath, [program, 'policy', ...args])).stdout;
    const line = ['--provider', `127.0.0.1:${provider.port}`, '--credentials', join(vendor.directory, 'credentials', 'ops')];
    const known = join(elsewhere, 'known.json');
    await writeFile(known, await wardcast('known', ...line, '--customer', 'acme', '--site', 'north'));
    const folder = ['--dir', directory, '--customer', 'acme', '--site', 'north'];
    const acl = await wardcast('export', ...folder, '--known', known);
    expect(await wardcast('export', ...folder, ...line)).toBe(acl);
    expect(acl).toContain(`${identityPath({ role: 'device', ...place, group: 'ct', device: 'stolen' })}: certificates issued up to`);
    // What the folder alone would let in: this test can fail.
    expect(await wardcast('export', ...folder, '--offline')).toContain('user CN=stolen,OU=ct,OU=north,O=acme\n');

    const pem = async (from: string): Promise<{ keyPem: string; chainPem: string; rootPem: string }> => {
      const [keyPem, chainPem, rootPem] = await Promise.all(['key.pem', 'chain.pem', 'root.pem'].map((name) => readFile(join(from, name), 'utf8')));
      return { keyPem: keyPem ?? '', chainPem: chainPem ?? '', rootPem: rootPem ?? '' };
    };
    const server = await pem(join(vendor.directory, 'credentials', 'provider'));
    await using mosquitto = await startMosquitto({ ...server, chain: [] }, { acl, lines: ['use_subject_as_username true', 'max_queued_messages 1000'] });
    const connect = async (from: string): Promise<MqttClient> => {
      const { keyPem: key, chainPem: cert, rootPem: ca } = await pem(from);
      return mqtt.connectAsync({ protocol: 'mqtts', host: '127.0.0.1', port: mosquitto.port, reconnectPeriod: 0, key, cert, ca });
    };

    const owner = await connect(join(vendor.directory, 'credentials', 'gateway'));
    const said = new Set<string>();
    const ended = Promise.withResolvers<void>();
    owner.on('message', (_topic, payload) => {
      if (payload.toString() === 'end') ended.resolve();
      else said.add(payload.toString());
    });
    await owner.subscribeAsync('#', { qos: 1 });
    const heard = new Set<string>();
    const clients = new Map<string, MqttClient>();
    for (const [label, { folder: from, identity }] of papers) {
      const client = await connect(from);
      clients.set(label, client);
      client.on('message', (topic) => heard.add(`${label} ${topic.split('/').slice(7, 9).join('/')}`));
      await client.subscribeAsync('#', { qos: 1 });
      await client.publishAsync(`wardcast/1/${identityPath(identity)}/up/hello`, label, { qos: 1 });
    }
    for (const group of ['ct', 'pumps']) await owner.publishAsync(`wardcast/1/customer/acme/site/north/group/${group}/announce/offer`, group, { qos: 1 });
    const good = papers.get('good');
    if (good !== undefined) await clients.get('good')?.publishAsync(`wardcast/1/${identityPath(good.identity)}/up/hello`, 'end', { qos: 1 });
    await ended.promise;
    // Its answer comes after whatever else mosquitto had for the client.
    for (const client of clients.values()) await client.subscribeAsync('wardcast/1/last', { qos: 1 });
    expect([...said].sort()).toEqual(['enrolled', 'good', 'moved-now']);
    expect([...heard].sort()).toEqual(['enrolled ct/announce', 'good ct/announce', 'moved-now pumps/announce']);
    expect(acl).toContain(`# ${GATEWAY}, the owner`);
    for (const client of [owner, ...clients.values()]) client.end(true);
  } finally {
    await ops.close();
    await provider.close();
    await vendor.close();
    await rm(elsewhere, { recursive: true, force: true });
  }
}, 120_000);
