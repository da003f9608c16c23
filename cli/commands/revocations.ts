import type { Command } from 'commander';
import { id, inherit, leaf } from '../command.ts';
import { withConnection, withOps } from '../connection.ts';

export function declare(parent: Command, description: string): void {
  const group = inherit(parent.command('revocations')).description(description);
  withConnection(
    leaf(group, 'list [customer]', 'devices, gateways and operators whose certificates are refused', async (call) => {
      const customer = call.args[0];
      const rows = await withOps(call, (ops) => ops.call('revocation.list', customer === undefined ? {} : { customer: id(customer, 'customer') }));
      call.output.result(rows, () =>
        call.output.table(
          rows,
          [
            { title: 'IDENTITY', value: (row) => row.identity },
            { title: 'ISSUED UNTIL', value: (row) => row.until },
            { title: 'ORDERED', value: (row) => row.at },
            { title: 'TRAVELS', value: (row) => (row.travels ? 'yes' : row.identity.startsWith('ops/') ? 'no: the provider alone asks' : 'no: all expired') },
            { title: 'REASON', value: (row) => row.reason },
          ],
          'nobody is revoked',
        ),
      );
      return undefined;
    }),
  );
}
