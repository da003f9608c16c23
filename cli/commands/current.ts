import type { Command } from 'commander';
import { argument, id, inherit, leaf, releaseName, usage } from '../command.ts';
import { withConnection, withOps } from '../connection.ts';

export function declare(parent: Command, description: string): void {
  const group = inherit(parent.command('current')).description(description);

  withConnection(
    leaf(group, 'set <customer> <group> <application@version>', 'the group shall run this release; transfer starts by itself', async (call) => {
      const wanted = argument(call, 2, 'the release');
      const none = call.options.flag('none');
      if (none && wanted.includes('@'))
        throw usage('--none takes an application without a version', 'Write for example: wardcast current set acme ct viewer --none');
      const { application, version } = none ? { application: id(wanted, 'application'), version: null } : releaseName(wanted);
      const site = call.options.text('site');
      const row = {
        customer: id(argument(call, 0, 'the customer'), 'customer'),
        group: id(argument(call, 1, 'the group'), 'group'),
        site: site === undefined ? null : id(site, 'site'),
        application,
        version,
        allowDowngrade: call.options.flag('allowDowngrade'),
      };
      const done = await withOps(call, (ops) => ops.call('current.set', row));
      call.output.result({ ...row, ...done }, () => {
        const where = `${row.customer}/${row.group}${row.site === null ? '' : ` at ${row.site}`}`;
        call.output.line(version === null ? `${application} is no longer wanted for ${where}` : `${application} ${version} is now current for ${where}`);
      });
      return undefined;
    })
      .option('--site <site>', 'only at this site')
      .option('--allow-downgrade', 'the version may be older than what runs; signed into the bundle')
      .option('--none', 'the application is no longer wanted (give it without a version)'),
  );

  withConnection(
    leaf(group, 'list', 'what is current for whom', async (call) => {
      const customer = call.options.text('customer');
      const of = call.options.text('group');
      const rows = await withOps(call, (ops) =>
        ops.call('current.list', {
          ...(customer === undefined ? {} : { customer: id(customer, 'customer') }),
          ...(of === undefined ? {} : { group: id(of, 'group') }),
        }),
      );
      call.output.result(rows, () =>
        call.output.table(
          rows,
          [
            { title: 'CUSTOMER', value: (row) => row.customer },
            { title: 'GROUP', value: (row) => row.group },
            { title: 'SITE', value: (row) => row.site ?? '(all)' },
            { title: 'APPLICATION', value: (row) => row.application },
            { title: 'CURRENT', value: (row) => row.version ?? '(none)' },
            { title: 'DOWNGRADE', value: (row) => (row.allowDowngrade ? 'allowed' : null) },
          ],
          'nothing is current yet',
        ),
      );
      return undefined;
    })
      .option('--customer <customer>', 'only of this customer')
      .option('--group <group>', 'only of this group'),
  );
}
