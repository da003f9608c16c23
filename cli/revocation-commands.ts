import type { Command } from 'commander';
import { argument, type Call, id, leaf, usage } from './command.ts';
import { withConnection, withOps } from './connection.ts';

/** The orders that end trust in certificates, each under the noun that it is about. */

const FRESH = 'A certificate for the same name is good again when it is made from now on: `wardcast pki … --from-now`.';

function ordered(command: Command): Command {
  return withConnection(command.requiredOption('--reason <text>', 'why; goes on the record'));
}
function dated(command: Command): Command {
  return command.option('--until <time>', 'revoke what was issued up to then (RFC 3339); default: now');
}

export function declareDeviceRevoke(parent: Command): void {
  dated(
    ordered(
      leaf(parent, 'revoke <customer> <device>', 'a device was stolen or its key is in other hands: nobody serves it any more', async (call) => {
        const customer = id(argument(call, 0, 'the customer'), 'customer');
        const device = id(argument(call, 1, 'the device'), 'device');
        const site = call.options.text('site');
        const group = call.options.text('group');
        const place = {
          ...(site === undefined ? {} : { site: id(site, 'site') }),
          ...(group === undefined ? {} : { group: id(group, 'group') }),
        };
        const done = await withOps(call, (ops) => ops.call('device.revoke', { customer, device, ...place, ...order(call) }));
        tellRevoked(call, done);
        return undefined;
      })
        .option('--site <site>', 'where it was, if it is not registered there any more')
        .option('--group <group>', 'what it was entitled to then'),
    ),
  );
}

export function declareGatewayRevoke(parent: Command): void {
  const command = (verb: string, description: string, next: string): void => {
    dated(
      ordered(
        leaf(parent, `${verb} <customer> <site> <gateway>`, description, async (call) => {
          const customer = id(argument(call, 0, 'the customer'), 'customer');
          const site = id(argument(call, 1, 'the site'), 'site');
          const gateway = id(argument(call, 2, 'the gateway'), 'gateway');
          const done = await withOps(call, (ops) => ops.call('gateway.revoke', { customer, site, gateway, ...order(call) }));
          tellRevoked(call, done, next);
          return undefined;
        }),
      ),
    );
  };
  command('revoke', 'a gateway was stolen: neither the provider nor the devices of its site take it any more', 'Another gateway of the site takes over.');
  command('replace', 'a gateway is exchanged for another one: the old one is refused from now on', FRESH);
}

export function declareOpsRevoke(parent: Command): void {
  dated(
    ordered(
      leaf(
        parent,
        'revoke <name>',
        'an operator left, or the key is in other hands: the provider cuts the connection and refuses the certificate',
        async (call) => {
          const name = id(argument(call, 0, 'the operator'), 'operator');
          tellRevoked(call, await withOps(call, (ops) => ops.call('ops.revoke', { name, ...order(call) })));
          return undefined;
        },
      ),
    ),
  );
}

export function declareGroupRetireCa(parent: Command): void {
  ordered(
    leaf(parent, 'retire-ca <customer> <group>', 'end the changeover to a new CA of a group: all its earlier certificates are refused', async (call) => {
      const customer = id(argument(call, 0, 'the customer'), 'customer');
      const group = id(argument(call, 1, 'the group'), 'group');
      const oldest = call.options.number('oldest', '--oldest');
      if (oldest === undefined) throw usage('--oldest is missing', 'Name the generation of the new CA, as `wardcast pki rekey-group` said.');
      const { reason } = order(call);
      const done = await withOps(call, (ops) => ops.call('group.retire-ca', { customer, group, oldest, reason }));
      call.output.result({ customer, group, oldest, ...done }, () =>
        call.output.line(`group ${customer}/${group}: certificates from CAs before generation ${oldest} are refused`),
      );
      return undefined;
    }).requiredOption('--oldest <n>', 'the oldest generation that stays good'),
  );
}

export function declareCustomerRetire(parent: Command): void {
  ordered(
    leaf(parent, 'retire <customer>', 'a customer leaves: nobody of it is served any more; its records stay', async (call) => {
      const customer = id(argument(call, 0, 'the customer'), 'customer');
      const { reason } = order(call);
      const done = await withOps(call, (ops) => ops.call('customer.retire', { customer, reason }));
      call.output.result({ customer, ...done }, () => call.output.line(`customer ${customer} retired: its gateways are refused; its records stay`));
      return undefined;
    }),
  );
}

function order(call: Call): { reason: string; until?: string } {
  const until = call.options.text('until');
  return { reason: call.options.needed('reason', '--reason'), ...(until === undefined ? {} : { until }) };
}

function tellRevoked(call: Call, done: { readonly identity: string; readonly until: string; readonly sequence: number }, next: string = FRESH): void {
  call.output.result(done, () => {
    call.output.line(`${done.identity}: certificates issued up to ${done.until} are refused`);
    call.output.line(next);
  });
}
