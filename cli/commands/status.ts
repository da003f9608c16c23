import type { Command } from 'commander';
import { leaf } from '../command.ts';
import { withConnection, withOps } from '../connection.ts';
import { scopeFilter, withScope } from '../scope.ts';
import { printAlarms, printBundles, printClocks, printStatus } from '../status-table.ts';
import { bytesText, timesText } from '../units.ts';

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
              {
                title: 'PER BYTE',
                value: (row) => (row.line === null || row.line.unique === 0 ? null : timesText(row.line.received / row.line.unique)),
                align: 'right',
              },
              { title: 'SENT', value: (row) => (row.sent === null ? null : bytesText(row.sent)), align: 'right' },
              { title: 'COPIES', value: (row) => (row.copies === null ? null : timesText(row.copies)), align: 'right' },
              { title: 'BUNDLES', value: (row) => row.groups.map((group) => `${group.group}:${group.relayed}/${group.sequence}`).join(' ') },
            ],
            'no sites',
          );
          printAlarms(output, status.alarms);
          printClocks(output, status.clocks);
          const told = status.bundles.filter((row) => row.confirmations > 0 || (row.line ?? 0) > 0 || (row.sent ?? 0) > 0);
          if (told.length === 0) return;
          output.line();
          printBundles(output, told);
        });
        return undefined;
      }).option('--device <device>', 'only this device'),
    ),
  );
}
