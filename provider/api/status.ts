import type { z } from 'zod';
import { MAX_REPLY_ROWS } from '../../shared/base/limits.ts';
import { type BundleRow, OPS_ACTIONS, type SiteRow as SiteStatus, type StatusRow } from '../../shared/wire/ops.ts';
import { alarms } from '../enrol/alarms.ts';
import { type CurrentVersion, effective } from '../plan.ts';
import { type DeviceRow, keys, prefixes, type Release, type Standing } from '../registry/rows.ts';
import { action, collect, type Desk, tooMany } from './action.ts';
import { bundleRows, NOTHING, ratio } from './bundle-bytes.ts';

type Row = z.input<typeof StatusRow>;
type Site = z.input<typeof SiteStatus>;
type Bundle = z.input<typeof BundleRow>;

/** The two versions of the patent side by side, for every device and application; and the sites' lines. */
export const status = action(OPS_ACTIONS.status, async (desk, { customer, site, group, device }) => {
  const members = await collect(
    desk.registry.list(prefixes.devices(customer)),
    (row) => (site === undefined || row.site === site) && (group === undefined || row.group === group) && (device === undefined || row.device === device),
  );
  const devices: Row[] = [];
  for (const member of members) {
    devices.push(...(await deviceRows(desk, member)));
    if (devices.length > MAX_REPLY_ROWS) throw tooMany();
  }
  const sites: Site[] = [];
  const bundles: Bundle[] = [];
  for await (const row of desk.registry.list(prefixes.sites(customer))) {
    if (site !== undefined && row.site !== site) continue;
    const status = await siteRow(desk, row.customer, row.site);
    sites.push(status);
    for (const { group: of, sequence } of status.groups) {
      if (group === undefined || of === group) bundles.push(...(await bundleRows(desk, { customer: row.customer, site: row.site, group: of }, sequence)));
    }
    if (bundles.length > MAX_REPLY_ROWS) throw tooMany();
  }
  const raised = await collect(
    alarms(desk.registry, customer),
    (row) => (site === undefined || row.site === site) && (device === undefined || row.device === device),
  );
  const clocks = await collect(
    desk.reports.clocks(customer, site),
    (row) => (group === undefined || row.group === group) && (device === undefined || row.device === device),
  );
  return { devices, sites, bundles, alarms: raised, clocks };
});

async function deviceRows({ registry }: Desk, member: DeviceRow): Promise<Row[]> {
  const currents = effective((await registry.get(keys.current(member.customer, member.group))) ?? [], member.site);
  const standing = await registry.get(keys.standing(member.customer, member.device));
  const names = new Set([
    ...currents.map((row) => row.application),
    ...(standing?.running ?? []).map((row) => row.application),
    ...(standing?.results ?? []).map((row) => row.application),
  ]);
  const rows: Row[] = [];
  for (const application of [...names].sort()) {
    const current = currents.find((row) => row.application === application);
    const wanted = current?.version == null ? undefined : await registry.get(keys.release(application, current.version));
    const version = standing?.running.find((row) => row.application === application)?.version;
    const runs = version == null ? undefined : await registry.get(keys.release(application, version));
    const row = statusRow(member, application, { current, wanted, runs, standing });
    if (row !== undefined) rows.push(row);
  }
  return rows;
}

interface Facts {
  readonly current: CurrentVersion | undefined;
  /** The release that the current version names. */
  readonly wanted: Release | undefined;
  /** The release that runs, if it is one of ours. */
  readonly runs: Release | undefined;
  readonly standing: Standing | undefined;
}

/** Pure; undefined: neither wanted nor running, nothing to show. */
export function statusRow(member: DeviceRow, application: string, { wanted, runs, standing }: Facts): Row | undefined {
  const { customer, site, group, device } = member;
  const running = standing?.running.find((row) => row.application === application);
  const result = standing?.results.find((row) => row.application === application);
  const desired = wanted !== undefined && wanted.withdrawn === null ? wanted : undefined;
  const runsNothing = running === undefined || running.manifest === null;
  if (desired === undefined && runsNothing) return undefined;
  const about = result !== undefined && (desired === undefined || result.manifest === desired.manifest) ? result : undefined;
  return {
    customer,
    site,
    group,
    device,
    application,
    currentVersion: desired?.version ?? null,
    customerVersion: running?.version ?? null,
    state: stateOf(),
    result: about?.result ?? null,
    reason: about?.reason ?? null,
    counter: Math.max(running?.counter ?? 0, result?.counter ?? 0),
    at: running?.at ?? result?.at ?? standing?.at ?? null,
  };

  function stateOf(): Row['state'] {
    if (standing === undefined) return 'unknown';
    if (desired !== undefined && running?.manifest === desired.manifest) return 'up-to-date';
    if (!runsNothing && runs?.manifest === running.manifest && runs.withdrawn !== null) return 'withdrawn';
    if (desired === undefined) return 'unmanaged';
    return about !== undefined && about.result !== 'installed' ? 'failed' : 'due';
  }
}

async function siteRow({ registry, reports, offers }: Desk, customer: string, site: string): Promise<Site> {
  const groups: Site['groups'] = [];
  for await (const { group, sequence } of registry.list(prefixes.bundles(customer, site))) {
    groups.push({ group, sequence, relayed: await reports.relayed({ customer, site, group }) });
  }
  const counters = await reports.counters(customer, site);
  const { gateway, peer, own, patch = 0 } = (await registry.get(keys.siteMoved(customer, site))) ?? NOTHING;
  const sent = counters?.content.gateway ?? null;
  return {
    customer,
    site,
    connected: offers.connected({ customer, site }),
    line: counters?.line ?? null,
    sent,
    had: { gateway, peer, own, patch },
    copies: ratio(sent, counters?.line.unique),
    groups,
  };
}
