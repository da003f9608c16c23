import type { Command } from 'commander';
import type { OpsResult } from '../../shared/wire/ops.ts';
import { argument, type Call, id, leaf, releaseName, usage } from '../command.ts';
import { withConnection, withOps } from '../connection.ts';
import { EXIT } from '../exit-status.ts';

export function declare(parent: Command, description: string): void {
  withConnection(
    leaf(
      parent,
      'explain <device> <release>',
      [
        `${description}.`,
        'DEVICE is DEVICE or CUSTOMER/DEVICE, at its registered place, or CUSTOMER/SITE/GROUP/DEVICE: as if a certificate said so.',
        'RELEASE is APPLICATION@VERSION. Exit status 0: nothing stops it; 3: something does.',
      ].join('\n'),
      run,
    ),
  );
}

async function run(call: Call): Promise<number> {
  const place = deviceName(argument(call, 0, 'the device'));
  const release = releaseName(argument(call, 1, 'the release'));
  const found = await withOps(call, (ops) => ops.call('explain', { ...place, ...release }));
  call.output.result(found, () => print(call, found));
  return found.entitled ? EXIT.ok : EXIT.refused;
}

/** @throws USAGE */
function deviceName(text: string): { customer?: string; site?: string; group?: string; device: string } {
  const parts = text.split('/');
  const [first = '', second = '', third = '', fourth = ''] = parts;
  if (parts.length === 1) return { device: id(first, 'device') };
  if (parts.length === 2) return { customer: id(first, 'customer'), device: id(second, 'device') };
  if (parts.length === 4) return { customer: id(first, 'customer'), site: id(second, 'site'), group: id(third, 'group'), device: id(fourth, 'device') };
  throw usage(`${JSON.stringify(text)} names no device`, 'Write DEVICE, CUSTOMER/DEVICE or CUSTOMER/SITE/GROUP/DEVICE.');
}

function print({ output }: Call, found: OpsResult<'explain'>): void {
  const { customer, site, group, device } = found.device;
  const { colors } = output;
  output.line(`${customer}/${site}/${group}/${device} and ${found.release.application} ${found.release.version}`);
  output.line();
  output.table(found.barriers, [
    { title: 'BARRIER', value: (row) => row.barrier },
    {
      title: 'STATE',
      value: (row) => row.state,
      paint: (text, row) => (row.state === 'stands' ? colors.red(text) : row.state === 'passes' ? colors.green(text) : colors.dim(text)),
    },
    { title: 'WHY', value: (row) => row.detail },
    { title: 'BY', value: (row) => row.rule },
  ]);
  output.line();
  output.line(found.entitled ? colors.green(found.verdict) : found.verdict);
}
