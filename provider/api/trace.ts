import { WardcastError } from '../../shared/base/errors.ts';
import { MAX_REPLY_ROWS } from '../../shared/base/limits.ts';
import { OPS_ACTIONS } from '../../shared/wire/ops.ts';
import { logRow } from '../events.ts';
import type { LogEntry } from '../record/log.ts';
import { type DeviceMoved, type DeviceRow, keys, prefixes, type TraceRow } from '../registry/rows.ts';
import { action, collect, type Desk, tooMany } from './action.ts';
import { publicRow } from './release.ts';

/** The records that concern a release, and of those about devices only the ones of `device`; and where each installation's bytes came from. */
export const trace = action(OPS_ACTIONS.trace, async (desk, { application, version, customer, device }) => {
  const release = await desk.registry.get(keys.release(application, version));
  const groups = device === undefined ? undefined : await groupsOf(desk, customer, device);
  const entries: LogEntry[] = [];
  const installations = new Map<string, DeviceMoved>();
  for await (const row of desk.registry.list(prefixes.trace(application, version))) {
    if (!concerns(row, customer, device, groups)) continue;
    const entry = await desk.registry.entry(row.sequence);
    if (entry === undefined) continue;
    if (entries.length >= MAX_REPLY_ROWS) throw tooMany();
    entries.push(entry);
    if (row.customer === null || row.device === null) continue;
    const moved = await desk.registry.get(keys.deviceMoved(row.customer, row.device, application, version));
    if (moved !== undefined) installations.set(`${row.customer}/${row.device}`, moved);
  }
  return { release: release === undefined ? null : publicRow(release), installations: [...installations.values()], entries: entries.map(logRow) };
});

/** The same from the device's side: every release it ever confirmed anything about, and the newest of its statements. */
export const traceDevice = action(OPS_ACTIONS['trace.device'], async (desk, { customer, device: name, limit }) => {
  const device = await theDevice(desk, customer, name);
  const sequences: number[] = [];
  for await (const row of desk.registry.list(prefixes.history(device.customer, device.device))) {
    sequences.push(row.sequence);
    if (sequences.length > limit) sequences.shift();
  }
  const entries = await Promise.all(sequences.map((sequence) => desk.registry.entry(sequence)));
  return {
    device,
    installations: await collect(desk.registry.list(prefixes.devicesMoved(device.customer, device.device))),
    entries: entries.filter((entry) => entry !== undefined).map(logRow),
  };
});

export async function theDevice({ registry }: Pick<Desk, 'registry'>, customer: string | undefined, device: string): Promise<DeviceRow> {
  const found: DeviceRow[] = [];
  for await (const row of registry.list(prefixes.devices(customer))) if (row.device === device) found.push(row);
  const [first, ...others] = found;
  if (first === undefined) {
    throw new WardcastError('NOT_FOUND', `Device ${customer === undefined ? '' : `${customer}/`}${device} does not exist`, {
      remedy: 'Check the spelling with `wardcast devices`; a release is traced as APPLICATION@VERSION.',
    });
  }
  if (others.length === 0) return first;
  throw new WardcastError('CONFLICT', `${found.length} customers have a device ${device}: ${found.map((row) => row.customer).join(', ')}`, {
    remedy: 'Say which with --customer.',
  });
}

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
