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
    leaf(
      group,
      'rotate-key <customer> <group>',
      'a new key for what is encrypted: it begins by itself when a device is revoked, moved or removed',
      async (call) => {
        const customer = id(argument(call, 0, 'the customer'), 'customer');
        const rotated = id(argument(call, 1, 'the group'), 'group');
        const only = call.options.text('site');
        const site = only === undefined ? null : id(only, 'site');
        const reason = call.options.needed('reason', '--reason');
        const done = await withOps(call, (ops) => ops.call('group.rotate-key', { customer, group: rotated, site, reason }));
        call.output.result({ customer, group: rotated, site, ...done }, () =>
          call.output.line(`group ${customer}/${rotated}${site === null ? '' : ` at ${site}`}: its devices get a new key with their next bundle`),
        );
        return undefined;
      },
    )
      .option('--site <site>', 'at this site alone')
      .requiredOption('--reason <text>', 'why; goes on the record'),
  );

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
