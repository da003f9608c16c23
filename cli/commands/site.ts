import type { Command } from 'commander';
import { argument, id, inherit, leaf } from '../command.ts';
import { withConnection, withOps } from '../connection.ts';

export function declare(parent: Command, description: string): void {
  const group = inherit(parent.command('site')).description(description);

  withConnection(
    leaf(group, 'add <customer> <site>', 'register a site: one location with one gateway', async (call) => {
      const customer = id(argument(call, 0, 'the customer'), 'customer');
      const site = id(argument(call, 1, 'the site'), 'site');
      const name = call.options.text('name');
      const done = await withOps(call, (ops) => ops.call('site.add', { customer, site, ...(name === undefined ? {} : { name }) }));
      call.output.result({ customer, site, ...done }, () => call.output.line(`site ${customer}/${site} added`));
      return undefined;
    }).option('--name <text>', 'its name for people'),
  );

  withConnection(
    leaf(group, 'list [customer]', 'all sites, or those of one customer', async (call) => {
      const customer = call.args[0];
      const sites = await withOps(call, (ops) => ops.call('site.list', customer === undefined ? {} : { customer: id(customer, 'customer') }));
      call.output.result(sites, () =>
        call.output.table(
          sites,
          [
            { title: 'CUSTOMER', value: (row) => row.customer },
            { title: 'SITE', value: (row) => row.site },
            { title: 'NAME', value: (row) => row.name },
          ],
          'no sites yet',
        ),
      );
      return undefined;
    }),
  );
}
