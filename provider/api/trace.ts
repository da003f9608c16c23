import { MAX_REPLY_ROWS } from '../../shared/base/limits.ts';
import { OPS_ACTIONS } from '../../shared/wire/ops.ts';
import { logRow } from '../events.ts';
import type { LogEntry } from '../record/log.ts';
import { keys, prefixes, type TraceRow } from '../registry/rows.ts';
import { action, type Desk, tooMany } from './action.ts';
import { publicRow } from './release.ts';

/** The records that concern a release, and of those about devices only the ones of `device`. */
export const trace = action(OPS_ACTIONS.trace, async (desk, { application, version, customer, device }) => {
  const release = await desk.registry.get(keys.release(application, version));
  const groups = device === undefined ? undefined : await groupsOf(desk, customer, device);
  const entries: LogEntry[] = [];
  for await (const row of desk.registry.list(prefixes.trace(application, version))) {
    if (!concerns(row, customer, device, groups)) continue;
    const entry = await desk.registry.entry(row.sequence);
    if (entry === undefined) continue;
    if (entries.length >= MAX_REPLY_ROWS) throw tooMany();
    entries.push(entry);
  }
  return { release: release === undefined ? null : publicRow(release), entries: entries.map(logRow) };
});

function concerns(row: TraceRow, customer: string | undefined, device: string | undefined, groups: ReadonlySet<string> | undefined): boolean {
  if (customer !== undefined && row.customer !== null && row.customer !== customer) return false;
  if (row.device !== null) return device === undefined || row.device === device;
  if (groups === undefined || row.group === null) return true;
  return [...groups].some((scope) => scope === `${row.customer}/${row.site ?? scope.split('/')[1]}/${row.group}`);
}

/** `customer/site/group` of every device of that name: ids are unique per customer only. */
async function groupsOf({ registry }: Desk, customer: string | undefined, device: string): Promise<ReadonlySet<string>> {
  const found = new Set<string>();
  for await (const row of registry.list(prefixes.devices(customer))) if (row.device === device) found.add(`${row.customer}/${row.site}/${row.group}`);
  return found;
}
