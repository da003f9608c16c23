import type { Command } from 'commander';
import type { OpsResult } from '../../shared/wire/ops.ts';
import { argument, type Call, id, leaf, releaseName } from '../command.ts';
import { withConnection, withOps } from '../connection.ts';
import type { Output } from '../output.ts';
import { hadColumns } from '../status-table.ts';

export function declare(parent: Command, description: string): void {
  withConnection(
    leaf(parent, 'trace <release-or-device>', `${description}: APPLICATION@VERSION or DEVICE`, (call) => {
      const what = argument(call, 0, 'the release or device');
      return what.includes('@') ? traceRelease(call, what) : traceDevice(call, what);
    })
      .option('--device <device>', 'of a release only what concerns this device')
      .option('--customer <customer>', 'only what concerns this customer')
      .option('--limit <count>', 'of a device as many statements, the newest (default 200)'),
  );
}

async function traceRelease(call: Call, name: string): Promise<undefined> {
  const { output } = call;
  const release = releaseName(name);
  const device = call.options.text('device');
  const trace = await withOps(call, (ops) =>
    ops.call('trace', { ...release, ...ofCustomer(call), ...(device === undefined ? {} : { device: id(device, 'device') }) }),
  );
  output.result(trace, () => {
    if (trace.release !== null) {
      const withdrawn = trace.release.withdrawn;
      output.line(`${trace.release.application} ${trace.release.version}  manifest ${trace.release.manifest}`);
      output.line(`published ${trace.release.publishedAt}${withdrawn === null ? '' : `, withdrawn ${withdrawn.at}: ${withdrawn.reason}`}`);
      output.line();
    }
    printInstallations(output, trace.installations);
    printEntries(output, trace.entries);
  });
  return undefined;
}

async function traceDevice(call: Call, name: string): Promise<undefined> {
  const { output } = call;
  const limit = call.options.number('limit', '--limit');
  const trace = await withOps(call, (ops) =>
    ops.call('trace.device', { device: id(name, 'device'), ...ofCustomer(call), ...(limit === undefined ? {} : { limit }) }),
  );
  output.result(trace, () => {
    const { customer, site, group, device } = trace.device;
    output.line(`${customer}/${site}/${group}/${device}`);
    output.line();
    printInstallations(output, trace.installations);
    printEntries(output, trace.entries);
  });
  return undefined;
}

function ofCustomer(call: Call): { customer?: string } {
  const customer = call.options.text('customer');
  return customer === undefined ? {} : { customer: id(customer, 'customer') };
}

/** Where each device had each release from, by its own confirmations. */
function printInstallations(output: Output, rows: OpsResult<'trace'>['installations']): void {
  if (rows.length === 0) return;
  output.table(rows, [
    { title: 'CUSTOMER', value: (row) => row.customer },
    { title: 'SITE', value: (row) => row.site },
    { title: 'GROUP', value: (row) => row.group },
    { title: 'DEVICE', value: (row) => row.device },
    { title: 'APPLICATION', value: (row) => row.application },
    { title: 'VERSION', value: (row) => row.version },
    { title: 'BUNDLE', value: (row) => row.sequence, align: 'right' },
    { title: 'RESULT', value: (row) => row.result },
    ...hadColumns<OpsResult<'trace'>['installations'][number]>(),
  ]);
  output.line();
}

function printEntries(output: Output, entries: OpsResult<'trace'>['entries']): void {
  output.table(
    entries,
    [
      { title: 'ENTRY', value: (row) => row.sequence, align: 'right' },
      { title: 'AT', value: (row) => row.at },
      { title: 'BY', value: (row) => row.actor },
      { title: 'WHAT', value: (row) => row.change.type },
      { title: 'DETAILS', value: (row) => details(row.change) },
      { title: 'HASH', value: (row) => row.hash.slice(0, 12) },
    ],
    'nothing is recorded about it',
  );
}

const LONG = 40;

/** A change's plain fields as `key=value`; what is long (hashes, signatures, metadata) is left to --json. */
export function details(change: Readonly<Record<string, unknown>>): string {
  return Object.entries(change)
    .flatMap(([key, value]): [string, unknown][] =>
      typeof value === 'object' && value !== null && !Array.isArray(value) ? Object.entries(value) : [[key, value]],
    )
    .filter(([key, value]) => key !== 'type' && (typeof value === 'string' || typeof value === 'number' || typeof value === 'boolean'))
    .filter(([, value]) => String(value).length <= LONG && value !== '')
    .map(([key, value]) => `${key}=${value}`)
    .join(' ');
}
