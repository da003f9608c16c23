import type { Command } from 'commander';
import { type Call, leaf } from '../command.ts';
import { withConnection, withOps } from '../connection.ts';
import { scopeFilter, withScope } from '../scope.ts';
import { printStatus } from '../status-table.ts';

export function declare(parent: Command, description: string): void {
  withConnection(
    withScope(
      leaf(parent, 'devices', description, (call) => (call.options.flag('seen') ? seen(call) : known(call))).option(
        '--seen',
        'what gateways discover on their LANs, enrolled or not',
      ),
    ),
  );
}

async function known(call: Call): Promise<undefined> {
  const { devices } = await withOps(call, (ops) => ops.call('status', scopeFilter(call.options)));
  call.output.result(devices, () => printStatus(call.output, devices));
}

async function seen(call: Call): Promise<undefined> {
  const { customer, site, group } = scopeFilter(call.options);
  const filter = { ...(customer === undefined ? {} : { customer }), ...(site === undefined ? {} : { site }) };
  const all = await withOps(call, (ops) => ops.call('device.seen', filter));
  const rows = group === undefined ? all : all.filter((row) => row.identity?.group === group);
  call.output.result(rows, () =>
    call.output.table(
      rows,
      [
        { title: 'CUSTOMER', value: (row) => row.customer },
        { title: 'SITE', value: (row) => row.site },
        { title: 'GROUP', value: (row) => row.identity?.group },
        { title: 'DEVICE', value: (row) => row.identity?.device ?? '(not enrolled)' },
        { title: 'ADDRESS', value: (row) => (row.port === 0 ? row.address : `${row.address}:${row.port}`) },
        { title: 'STATE', value: (row) => (row.contradicted === undefined ? (row.connected ? 'connected' : 'away') : 'two at once') },
        { title: 'LAST SEEN', value: (row) => row.lastSeen },
        { title: 'INSTANCE', value: (row) => row.instance },
      ],
      'no gateway has reported a device',
    ),
  );
}
