import type { Scope } from '../shared/base/identity.ts';
import type { DeviceSnapshot } from './plan.ts';
import type { Registry } from './registry/registry.ts';
import { prefixes, type Standing } from './registry/rows.ts';

type Manifests = NonNullable<DeviceSnapshot['running']>;

/**
 * What all devices of a customer run, read in one go: for plans over many devices, where a look-up each would take seconds. Devices that run the
 * same share one map, so that a million of them fit into memory.
 */
export async function surveyRunning(registry: Registry, customer: string): Promise<ReadonlyMap<string, Manifests>> {
  const found = new Map<string, Manifests>();
  const shared = new Map<string, Manifests>();
  const prefix = prefixes.standings(customer);
  for await (const rows of registry.batches(prefix)) {
    for (const [key, value] of rows) {
      const running = runningIn(value);
      let name = '';
      for (const { application, manifest } of running) if (manifest !== null) name += `${application} ${manifest} `;
      let manifests = shared.get(name);
      if (manifests === undefined) {
        manifests = new Map(running.flatMap(({ application, manifest }) => (manifest === null ? [] : [[application, manifest] as const])));
        shared.set(name, manifests);
      }
      found.set(key.slice(prefix.text.length), manifests);
    }
  }
  return found;
}

/** Names of the devices of each group at each site of a customer, or of one group at all its sites. */
export async function surveyMembers(registry: Registry, customer: string, only?: string): Promise<ReadonlyMap<string, { scope: Scope; devices: string[] }>> {
  const found = new Map<string, { scope: Scope; devices: string[] }>();
  const prefix = prefixes.members(customer);
  for await (const rows of registry.batches(prefix)) {
    for (const [key] of rows) {
      const [site = '', group = '', device = ''] = key.slice(prefix.text.length).split('/');
      if (only !== undefined && group !== only) continue;
      const name = `${site}/${group}`;
      const known = found.get(name);
      if (known === undefined) found.set(name, { scope: { customer, site, group }, devices: [device] });
      else known.devices.push(device);
    }
  }
  return found;
}

const FROM = Buffer.from('"running":[');
const TO = Buffer.from('],"results":[');

/** Parses only the list of what runs: half the row is the history of results. Quotes in texts are escaped, so the names of the fields are found nowhere else. */
export function runningIn(row: Buffer): Standing['running'] {
  const from = row.indexOf(FROM);
  const to = row.indexOf(TO, from);
  const text = from < 0 || to < 0 ? undefined : row.toString('utf8', from + FROM.length - 1, to + 1);
  if (text !== undefined) {
    const running: Standing['running'] = JSON.parse(text);
    return running;
  }
  const standing: Standing = JSON.parse(row.toString('utf8'));
  return standing.running;
}
