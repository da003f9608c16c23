import type { Command } from 'commander';
import { argument, type Call, id, inherit, leaf } from '../command.ts';
import { withConnection, withOps } from '../connection.ts';
import { declareDeviceRevoke } from '../revocation-commands.ts';
import { scopeFilter, withScope } from '../scope.ts';

export function declare(parent: Command, description: string): void {
  const group = inherit(parent.command('device')).description(description);

  withConnection(
    leaf(group, 'add <customer> <device>', 'register a device with its site and group', async (call) => {
      const place = devicePlace(call);
      const name = call.options.text('name');
      const done = await withOps(call, (ops) => ops.call('device.add', { ...place, ...(name === undefined ? {} : { name }) }));
      call.output.result({ ...place, ...done }, () => call.output.line(`device ${place.customer}/${place.device} added to ${place.site}/${place.group}`));
      return undefined;
    })
      .requiredOption('--site <site>', 'where it stands')
      .requiredOption('--group <group>', 'what it is entitled to')
      .option('--name <text>', 'its name for people'),
  );

  withConnection(
    leaf(group, 'move <customer> <device>', 'the device changed site or group: its old certificate is refused at once, it needs a new one', async (call) => {
      const place = devicePlace(call);
      const done = await withOps(call, (ops) => ops.call('device.move', place));
      call.output.result({ ...place, ...done }, () => call.output.line(`device ${place.customer}/${place.device} moved to ${place.site}/${place.group}`));
      return undefined;
    })
      .requiredOption('--site <site>', 'where it stands from now on')
      .requiredOption('--group <group>', 'what it is entitled to from now on'),
  );

  withConnection(
    leaf(group, 'remove <customer> <device>', 'take a device out of the registry: what it says is no longer recorded', async (call) => {
      const customer = id(argument(call, 0, 'the customer'), 'customer');
      const device = id(argument(call, 1, 'the device'), 'device');
      const done = await withOps(call, (ops) => ops.call('device.remove', { customer, device }));
      call.output.result({ customer, device, ...done }, () => call.output.line(`device ${customer}/${device} removed`));
      return undefined;
    }),
  );

  declareDeviceRevoke(group);

  withConnection(
    withScope(
      leaf(group, 'list', 'all devices, or those of a customer, site or group', async (call) => {
        const { customer, site, group: of } = scopeFilter(call.options);
        const filter = { ...(customer === undefined ? {} : { customer }), ...(site === undefined ? {} : { site }), ...(of === undefined ? {} : { group: of }) };
        const devices = await withOps(call, (ops) => ops.call('device.list', filter));
        call.output.result(devices, () =>
          call.output.table(
            devices,
            [
              { title: 'CUSTOMER', value: (row) => row.customer },
              { title: 'SITE', value: (row) => row.site },
              { title: 'GROUP', value: (row) => row.group },
              { title: 'DEVICE', value: (row) => row.device },
              { title: 'NAME', value: (row) => row.name },
            ],
            'no devices',
          ),
        );
        return undefined;
      }),
    ),
  );
}

function devicePlace(call: Call): { customer: string; device: string; site: string; group: string } {
  return {
    customer: id(argument(call, 0, 'the customer'), 'customer'),
    device: id(argument(call, 1, 'the device'), 'device'),
    site: id(call.options.needed('site', '--site'), 'site'),
    group: id(call.options.needed('group', '--group'), 'group'),
  };
}
