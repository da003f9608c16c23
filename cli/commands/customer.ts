import type { Command } from 'commander';
import { argument, id, inherit, leaf } from '../command.ts';
import { withConnection, withOps } from '../connection.ts';
import { declareCustomerRetire } from '../revocation-commands.ts';

export function declare(parent: Command, description: string): void {
  const group = inherit(parent.command('customer')).description(description);

  withConnection(
    leaf(group, 'add <customer>', 'register a customer', async (call) => {
      const customer = id(argument(call, 0, 'the customer'), 'customer');
      const name = call.options.text('name');
      const done = await withOps(call, (ops) => ops.call('customer.add', { customer, ...(name === undefined ? {} : { name }) }));
      call.output.result({ customer, ...done }, () => call.output.line(`customer ${customer} added`));
      return undefined;
    }).option('--name <text>', 'its name for people'),
  );

  declareCustomerRetire(group);

  withConnection(
    leaf(group, 'list', 'all customers', async (call) => {
      const customers = await withOps(call, (ops) => ops.call('customer.list', {}));
      call.output.result(customers, () =>
        call.output.table(
          customers,
          [
            { title: 'CUSTOMER', value: (row) => row.customer },
            { title: 'NAME', value: (row) => row.name },
            { title: 'RETIRED', value: (row) => row.retired?.at },
          ],
          'no customers yet',
        ),
      );
      return undefined;
    }),
  );
}
