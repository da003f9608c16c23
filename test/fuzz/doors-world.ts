import { readFile } from 'node:fs/promises';
import path from 'node:path';
import type { Credentials } from '../../certs/credentials.ts';
import { seal } from '../../certs/envelope.ts';
import { addCustomer, addGroup, issueDevice, issueGateway, issueOps } from '../../certs/pki-directory.ts';
import type { Identity } from '../../shared/base/identity.ts';
import { chunkList, parseManifest } from '../../shared/bundle/manifest.ts';
import { DEVICE, type Papers, Workshop } from '../support/bad-certificates.ts';
import type { Daemon } from '../support/daemon.ts';
import { filesOf } from '../support/files.ts';
import { World } from '../support/world.ts';

/** A whole deployment of real processes with releases installed, and everybody who attacks its doors, with their certificates. */
export interface AttackedWorld {
  readonly world: World;
  readonly doors: readonly AttackedDoor[];
  readonly strangers: readonly Stranger[];
  readonly good: { readonly device: Credentials; readonly ops: Credentials };
  /** Releases that some of the strangers may have. */
  readonly manifests: readonly { readonly hash: string; readonly chunks: number }[];
  /** This process on the LAN. */
  readonly lan: string;
}

export interface Place {
  readonly host: string;
  readonly port: number;
}

export interface AttackedDoor {
  readonly name: 'provider' | 'gateway' | 'agent';
  readonly daemon: Daemon;
  readonly at: () => Place;
}

export interface Stranger {
  readonly name: string;
  /** What it can prove to be; undefined: nothing. */
  readonly papers: Pick<Papers, 'keyPem' | 'chainPem'> | undefined;
  /** What it says it is. */
  readonly identity: Identity;
  /** Statements that it really signed. */
  readonly signed: readonly Buffer[];
}

export async function openWorld(): Promise<AttackedWorld> {
  const world = await World.create({ plan: { acme: { north: { ct: ['ct-1'], pump: ['pump-1'] } } }, applications: ['viewer', 'driver'], joinLan: true });
  await world.start();
  const directory = path.join(world.directory, 'pki');
  const out = (name: string): string => path.join(world.directory, 'strangers', name);
  const north = { directory, customer: 'acme', site: 'north' };
  const past = { notBefore: new Date(Date.now() - 48 * 3600_000), notAfter: new Date(Date.now() - 24 * 3600_000) };
  await addCustomer({ directory, customer: 'beta' });
  await addGroup({ directory, customer: 'beta', group: 'ct' });
  await Promise.all([
    issueDevice({ ...north, group: 'ct', device: 'ct-9', out: out('device') }),
    issueDevice({ ...north, group: 'pump', device: 'pump-9', out: out('other group') }),
    issueDevice({ ...north, customer: 'beta', group: 'ct', device: 'ct-9', out: out('other customer') }),
    issueDevice({ ...north, group: 'ct', device: 'ct-7', ...past, out: out('expired') }),
    issueGateway({ ...north, site: 'south', gateway: 'gw', out: out('gateway') }),
    issueOps({ directory, name: 'oscar', out: out('ops') }),
    issueDevice({ ...north, group: 'ct', device: 'ct-8', out: out('good') }),
  ]);
  const ops = await world.ops();
  await ops.call('device.add', { customer: 'acme', site: 'north', group: 'ct', device: 'ct-9' });
  const strangers: Stranger[] = [];
  for (const name of ['device', 'other group', 'other customer', 'gateway', 'ops']) {
    const credentials = await world.credentials(out(name));
    strangers.push({ name, papers: credentials, identity: credentials.identity, signed: statements(credentials) });
  }
  const pem = async (name: string, file: string): Promise<string> => readFile(path.join(out(name), file), 'utf8');
  const foreign = (await Workshop.open()).leaf(DEVICE);
  strangers.push({
    name: 'expired',
    papers: { keyPem: await pem('expired', 'key.pem'), chainPem: await pem('expired', 'chain.pem') },
    identity: DEVICE,
    signed: [],
  });
  strangers.push({ name: 'foreign', papers: foreign, identity: DEVICE, signed: [] });
  strangers.push({ name: 'nobody', papers: undefined, identity: DEVICE, signed: [] });

  await world.publish('viewer', '1.0.0', filesOf('viewer', '1.0.0', 800_000));
  await world.publish('driver', '1.0.0', filesOf('driver', '1.0.0', 300_000));
  await world.setCurrent('acme', 'ct', 'viewer', '1.0.0');
  await world.setCurrent('acme', 'pump', 'driver', '1.0.0');
  await world.until('the devices run their releases', ({ devices }) => devices.filter(({ state }) => state === 'up-to-date').length >= 2);
  const manifests = [{ hash: 'ab'.repeat(32), chunks: 9 }];
  for (const { manifest } of await ops.call('release.list', {})) {
    const bytes = await readFile(path.join(world.directory, 'workspace', 'manifests', `${manifest}.json`));
    manifests.push({ hash: manifest, chunks: chunkList(parseManifest(bytes)).sizes.length });
  }

  const site = world.site('north');
  const lan = Object.entries(site.host.addresses).find(([network]) => network !== 'wan')?.[1] ?? '';
  const doorOf = (name: string): Place => {
    const { host, daemon } = world.device(name);
    return { host: Object.values(host.addresses)[0] ?? '', port: Number(daemon.lines.findLast(({ event }) => event === 'ready')?.['port']) };
  };
  return {
    world,
    doors: [
      { name: 'provider', daemon: world.provider, at: () => ({ host: world.providerHost.addresses['wan'] ?? '', port: 8883 }) },
      { name: 'gateway', daemon: site.daemon, at: () => ({ host: lan, port: 8883 }) },
      { name: 'agent', daemon: world.device('ct-1').daemon, at: () => doorOf('ct-1') },
    ],
    strangers,
    good: { device: await world.credentials(out('good')), ops: await world.credentials('ops') },
    manifests,
    lan: lan.replace(/\d+$/, '254'),
  };
}

function statements(credentials: Credentials): Buffer[] {
  const { identity } = credentials;
  if (identity.role !== 'device') return [];
  const { role: _role, ...who } = identity;
  return [1, 2, 2 ** 50].map((counter) => {
    const statement = { type: 'inventory', ...who, counter, at: new Date().toISOString(), agent: '1.0.0', applications: [] };
    return Buffer.from(JSON.stringify(seal(Buffer.from(JSON.stringify(statement)), credentials)));
  });
}
