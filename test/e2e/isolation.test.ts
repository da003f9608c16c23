import { once } from 'node:events';
import { readFile } from 'node:fs/promises';
import type https from 'node:https';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { identityPath } from '../../shared/base/identity.ts';
import { announce, announceFilter, down, downFilter, up } from '../../shared/wire/topics.ts';
import { filesOf } from '../support/files.ts';
import { type DeviceUnit, World } from '../support/world.ts';

/** Group pump's device attacks group ct's bundle with its own genuine certificate, from its own place on the LAN. */
describe('a device of one group gets nothing of another group', () => {
  let world: World;
  let thief: DeviceUnit;
  let victim: DeviceUnit;
  let gateway: string;
  let chunk: string;
  let manifest: string;
  const deviceIdentity = (unit: DeviceUnit) => ({ role: 'device' as const, customer: unit.customer, site: unit.site, group: unit.group, device: unit.device });

  beforeAll(async () => {
    world = await World.create({ plan: { acme: { north: { ct: ['ct-1'], pump: ['pump-1'] } } }, applications: ['viewer', 'driver'] });
    await world.start();
    await world.publish('viewer', '1.0.0', filesOf('viewer', '1.0.0', 600_000));
    await world.publish('driver', '1.0.0', filesOf('driver', '1.0.0', 100_000));
    await world.setCurrent('acme', 'ct', 'viewer', '1.0.0');
    await world.setCurrent('acme', 'pump', 'driver', '1.0.0');
    await world.untilUpToDate();
    thief = world.device('pump-1');
    victim = world.device('ct-1');
    gateway = Object.values(world.site('north').host.addresses).find((address) => !address.startsWith('10.99.')) ?? '';
    const releases = await (await world.ops()).call('release.list', { application: 'viewer' });
    manifest = releases[0]?.manifest ?? '';
    const file: { files: { path: string; chunks: { hash: string }[] }[] } = JSON.parse(
      await readFile(path.join(world.directory, 'workspace', 'manifests', `${manifest}.json`), 'utf8'),
    );
    chunk = file.files.find((entry) => entry.path === 'lib/library.bin')?.chunks[0]?.hash ?? '';
    expect(chunk).toMatch(/^[0-9a-f]{64}$/);
    // The thief's own agent would hold the thief's place at the broker.
    await thief.daemon.stop();
  });
  afterAll(async () => world?.close());

  const tls = (unit: DeviceUnit): string[] => [
    '--cafile',
    path.join(unit.credentials, 'root.pem'),
    '--cert',
    path.join(unit.credentials, 'chain.pem'),
    '--key',
    path.join(unit.credentials, 'key.pem'),
    '--insecure',
  ];

  /** Listens with mosquitto_sub on the thief's host while ct's bundle is offered anew; returns what it heard. */
  async function overhear(filters: readonly string[], options: { id?: string; host?: string; before?: string[] } = {}): Promise<string> {
    const args = [
      '-h',
      options.host ?? gateway,
      '-p',
      '8883',
      ...tls(thief),
      '-i',
      options.id ?? identityPath(deviceIdentity(thief)),
      '-V',
      'mqttv311',
      '-q',
      '1',
      '-v',
      '-W',
      '6',
      ...(options.before ?? []),
      ...filters.flatMap((filter) => ['-t', filter]),
    ];
    const child = thief.host.spawn('mosquitto_sub', args);
    let heard = '';
    child.stdout?.on('data', (data: Buffer) => {
      heard += data.toString('latin1');
    });
    const ended = once(child, 'exit');
    // Provoke traffic of the other group meanwhile: its agent connects anew, states its inventory, gets its offer and its receipt.
    await victim.daemon.stop();
    await victim.daemon.start();
    await ended;
    return heard;
  }

  it('by subscribing to its exact topics', async () => {
    const ct = deviceIdentity(victim);
    expect(await overhear([announce(ct, 'offer'), down(ct, 'receipt'), down(ct, 'offer'), up(ct, 'statement')])).toBe('');
  });

  it('by subscribing with wildcards', async () => {
    expect(
      await overhear([
        '#',
        'wardcast/#',
        'wardcast/1/customer/acme/site/north/group/+/announce/offer',
        announceFilter(deviceIdentity(victim)),
        '+/+/+/+/+/+/#',
      ]),
    ).toBe('');
  });

  it('by mixing an allowed with a denied topic, in a persistent session that reconnects', async () => {
    const filters = [downFilter(deviceIdentity(thief)), announce(deviceIdentity(victim), 'offer'), downFilter(deviceIdentity(victim))];
    const first = await overhear(filters, { before: ['-c'] });
    const second = await overhear(filters, { before: ['-c'] });
    // It hears what was refused to it, on its own topic, and nothing else of that group.
    const topics = `${first}${second}`.split('\n').map((line) => line.split(' ')[0] ?? '');
    expect(topics.filter((topic) => topic.includes('group/ct'))).toEqual([]);
  });

  it('by taking the other device’s client id', async () => {
    expect(await overhear([downFilter(deviceIdentity(victim)), downFilter(deviceIdentity(thief))], { id: identityPath(deviceIdentity(victim)) })).toBe('');
    expect(victim.daemon.running).toBe(true);
  });

  it('by asking for its objects over MQTT, which answers as for objects that do not exist', async () => {
    const self = deviceIdentity(thief);
    /** Asks with mosquitto's request/response client and returns the first answer: topic and payload. */
    const ask = async (want: { group: string; kind: string; names: string[] }): Promise<{ topic: string; payload: unknown }> => {
      const id = ['-i', identityPath(self), '-V', 'mqttv311', '-W', '5'];
      const topics = ['-t', up(self, 'want'), '-e', down(self, 'absent'), '-F', '%t %p', '-m', JSON.stringify(want)];
      const { stdout } = await thief.host.exec('mosquitto_rr', ['-h', gateway, '-p', '8883', ...tls(thief), ...id, ...topics]);
      const space = stdout.indexOf(' ');
      return { topic: stdout.slice(0, space), payload: JSON.parse(stdout.slice(space)) };
    };
    for (const [group, kind, name] of [
      ['ct', 'chunk', chunk],
      ['pump', 'chunk', chunk],
      ['ct', 'target', manifest],
      ['ct', 'metadata', 'timestamp.json'],
      ['nowhere', 'chunk', 'ab'.repeat(32)],
    ] as const) {
      const answer = await ask({ group, kind, names: [name] });
      expect(answer).toEqual({ topic: down(self, 'absent'), payload: { group, kind, names: [name], reason: 'absent' } });
    }
  });

  it('by asking the chunk server, whose answer to it is the answer to a stranger', async () => {
    const credentials = await world.credentials(thief.credentials);
    const own = await world.credentials(victim.credentials);
    const ask = (who: typeof credentials, group: string, what: string, body?: Buffer): Promise<{ status: number; bytes: number }> =>
      fetchOn(thief, gateway, who, `/v1/acme/north/${group}/${what}`, body);
    const wanted = Buffer.from(chunk, 'hex');
    expect((await ask(own, 'ct', 'chunks', wanted)).bytes).toBeGreaterThan(1000);
    expect(await ask(credentials, 'ct', 'chunks', wanted)).toEqual({ status: 404, bytes: 0 });
    expect(await ask(credentials, 'ct', `target/${manifest}`)).toEqual({ status: 404, bytes: 0 });
    expect(await ask(credentials, 'ct', 'metadata/timestamp.json')).toEqual({ status: 404, bytes: 0 });
    expect(await ask(credentials, 'pump', `target/${manifest}`)).toEqual({ status: 404, bytes: 0 });
    expect((await ask(credentials, 'pump', 'chunks', wanted)).bytes).toBeLessThanOrEqual(4);
    expect(await ask(credentials, 'nowhere', 'chunks', wanted)).toEqual({ status: 404, bytes: 0 });
  });

  it('by asking the other device’s own door', async () => {
    const seen = await (await world.ops()).call('device.seen', { customer: 'acme', site: 'north' });
    const other = seen.find((device) => device.identity?.device === 'ct-1');
    expect(other?.port).toBeGreaterThan(0);
    const credentials = await world.credentials(thief.credentials);
    const answer = await fetchOn(thief, other?.address ?? '', credentials, '/v1/acme/north/ct/chunks', Buffer.from(chunk, 'hex'), other?.port).catch(() => ({
      status: 0,
      bytes: 0,
    }));
    expect(answer.bytes).toBe(0);
  });

  it('by publishing statements in another device’s name', async () => {
    const before = (await world.status()).devices.find((row) => row.device === 'ct-1');
    const signed = { payload: Buffer.from('{}').toString('base64'), signature: '', chain: [''] };
    await thief.host
      .exec('mosquitto_pub', [
        '-h',
        gateway,
        '-p',
        '8883',
        ...tls(thief),
        '-i',
        identityPath(deviceIdentity(thief)),
        '-V',
        'mqttv311',
        '-q',
        '1',
        '-t',
        up(deviceIdentity(victim), 'statement'),
        '-m',
        JSON.stringify(signed),
      ])
      .catch(() => undefined);
    expect((await world.status()).devices.find((row) => row.device === 'ct-1')).toEqual(before);
  });

  it('at the provider’s door, which a device’s certificate does not open', async () => {
    const wan = world.providerHost.addresses['wan'] ?? '';
    const gatewayHost = world.site('north').host;
    const args = ['-h', wan, '-p', '8883', ...tls(thief), '-i', identityPath(deviceIdentity(thief)), '-V', 'mqttv311', '-W', '3', '-t', '#'];
    const heard = await gatewayHost.exec('mosquitto_sub', args).then(
      ({ stdout }) => stdout,
      (error: { stdout?: string }) => error.stdout ?? '',
    );
    expect(heard).toBe('');
    await world.provider.logged((line) => line.event === 'door.refused');
  });
});

/** A request from the device's own host, so that it crosses the LAN: a small script run there. */
async function fetchOn(
  unit: DeviceUnit,
  host: string,
  credentials: { keyPem: string; chainPem: string; rootPem: string },
  target: string,
  body?: Buffer,
  port = 8883,
): Promise<{ status: number; bytes: number }> {
  const script = `
    const https = require('node:https');
    const { options, body } = JSON.parse(process.argv[1]);
    const request = https.request({ ...options, rejectUnauthorized: false, ALPNProtocols: ['http/1.1'] }, (response) => {
      let bytes = 0;
      response.on('data', (data) => (bytes += data.length));
      response.on('end', () => console.log(JSON.stringify({ status: response.statusCode, bytes })));
    });
    request.on('error', (error) => { console.error(error); process.exit(1); });
    request.end(body === undefined ? undefined : Buffer.from(body, 'hex'));`;
  const options: https.RequestOptions = {
    host,
    port,
    path: target,
    method: body === undefined ? 'GET' : 'POST',
    key: credentials.keyPem,
    cert: credentials.chainPem,
    ca: credentials.rootPem,
  };
  const { stdout } = await unit.host.exec(process.execPath, ['-e', script, JSON.stringify({ options, body: body?.toString('hex') })]);
  return JSON.parse(stdout);
}
