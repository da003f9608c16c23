import type { Command } from 'commander';
import { argument, id, inherit, leaf } from '../command.ts';
import { withConnection, withOps } from '../connection.ts';
import { declareGroupRetireCa } from '../revocation-commands.ts';

export function declare(parent: Command, description: string): void {
  const group = inherit(parent.command('group')).description(description);

  withConnection(
    leaf(group, 'add <customer> <group>', 'register a group: the unit of entitlement', async (call) => {
      const customer = id(argument(call, 0, 'the customer'), 'customer');
      const name = call.options.text('name');
      const added = id(argument(call, 1, 'the group'), 'group');
      const done = await withOps(call, (ops) => ops.call('group.add', { customer, group: added, ...(name === undefined ? {} : { name }) }));
      call.output.result({ customer, group: added, ...done }, () => call.output.line(`group ${customer}/${added} added`));
      return undefined;
    }).option('--name <text>', 'its name for people'),
  );

  declareGroupRetireCa(group);

  withConnection(
    leaf(group, 'list [customer]', 'all groups, or those of one customer', async (call) => {
      const customer = call.args[0];
      const groups = await withOps(call, (ops) => ops.call('group.list', customer === undefined ? {} : { customer: id(customer, 'customer') }));
      call.output.result(groups, () =>
        call.output.table(
          groups,
          [
            { title: 'CUSTOMER', value: (row) => row.customer },
            { title: 'GROUP', value: (row) => row.group },
            { title: 'NAME', value: (row) => row.name },
          ],
          'no groups yet',
        ),
      );
      return undefined;
    }),
  );
}
