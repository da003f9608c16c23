import { type Scope, scopePath } from '../shared/base/identity.ts';
import type { DeviceSnapshot } from './plan.ts';
import { decode } from './registry/keyspace.ts';
import type { Registry } from './registry/registry.ts';
import { prefixes, type RunsRow } from './registry/rows.ts';

/** A group at a site, and what runs there, not yet read: a damaged row is to cost its own group alone. */
export interface Surveyed {
  readonly scope: Scope;
  readonly rows: readonly (readonly [running: string, row: Buffer])[];
}

/** The groups of a customer that have devices or bundles: all, or one group at all its sites or at one. One pass, whatever the number of devices. */
export async function surveyGroups(registry: Registry, customer: string, onlyGroup?: string, onlySite?: string): Promise<readonly Surveyed[]> {
  const found = new Map<string, { scope: Scope; rows: (readonly [string, Buffer])[] }>();
  const at = (site: string, group: string): (readonly [string, Buffer])[] => {
    if (onlyGroup !== undefined && group !== onlyGroup) return [];
    const scope: Scope = { customer, site, group };
    const name = scopePath(scope);
    const known = found.get(name) ?? { scope, rows: [] };
    found.set(name, known);
    return known.rows;
  };
  const runs = prefixes.runs(customer, onlySite, onlySite === undefined ? undefined : onlyGroup);
  for await (const rows of registry.batches(runs)) {
    for (const [key, row] of rows) {
      const [, , site = '', group = '', running = ''] = key.split('/');
      at(site, group).push([running, row]);
    }
  }
  for await (const { site, group } of registry.list(prefixes.bundles(customer, onlySite))) at(site, group);
  return [...found.values()];
}

/** What runs in a group, as the plan sees it. */
export function readGroup(rows: Surveyed['rows']): readonly DeviceSnapshot[] {
  return rows.map(([device, row]) => {
    const { running, devices } = decode<RunsRow>(row);
    return { device, alike: devices, running: new Map(running) };
  });
}
