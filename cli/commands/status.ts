import type { Command } from 'commander';
import { leaf } from '../command.ts';
import { withConnection, withOps } from '../connection.ts';
import { scopeFilter, withScope } from '../scope.ts';
import { printStatus } from '../status-table.ts';
import { bytesText } from '../units.ts';

export function declare(parent: Command, description: string): void {
  withConnection(
    withScope(
      leaf(parent, 'status', description, async (call) => {
        const { output } = call;
        const status = await withOps(call, (ops) => ops.call('status', scopeFilter(call.options)));
        output.result(status, () => {
          printStatus(output, status.devices);
          output.line();
          output.table(
            status.sites,
            [
              { title: 'CUSTOMER', value: (row) => row.customer },
              { title: 'SITE', value: (row) => row.site },
              {
                title: 'GATEWAY',
                value: (row) => (row.connected ? 'connected' : 'away'),
                paint: (text, row) => (row.connected ? output.colors.green(text) : output.colors.yellow(text)),
              },
              { title: 'LINE', value: (row) => (row.line === null ? null : bytesText(row.line.received)), align: 'right' },
              { title: 'CONTENT', value: (row) => (row.line === null ? null : bytesText(row.line.unique)), align: 'right' },
              { title: 'BUNDLES', value: (row) => row.groups.map((group) => `${group.group}:${group.relayed}/${group.sequence}`).join(' ') },
            ],
            'no sites',
          );
        });
        return undefined;
      }).option('--device <device>', 'only this device'),
    ),
  );
}
