import type { Command } from 'commander';
import { Option } from 'commander';
import { systemClock } from '../../shared/base/clock.ts';
import { identityPath } from '../../shared/base/identity.ts';
import { type Call, id, inherit, leaf, type Options } from '../command.ts';
import type { Seat } from '../policy/holders.ts';
import { scopeFilter } from '../scope.ts';

export function declare(parent: Command, description: string): void {
  const policy = inherit(parent.command('policy')).description(`${description}.\nThe same policy that the doors of Wardcast's own daemons ask.`);
  leaf(policy, 'export', 'what each holder of a certificate may hear and say at one broker', exportRights)
    .option('--dir <dir>', 'the folder of the PKI: the certificates in force are those it issued', 'pki')
    .addOption(new Option('--for <broker>', 'whose broker').choices(['provider', 'gateway']).default('gateway'))
    .addOption(new Option('--format <format>', 'an access list (mosquitto 2.0) or the plain table').choices(['mosquitto', 'json']).default('mosquitto'))
    .option('--customer <customer>', "the gateway's customer; for the provider's broker: only this customer's gateways")
    .option('--site <site>', "the gateway's site; for the provider's broker: only this site's gateways")
    .option('--owner <name>', 'the name of the provider or gateway, when several certificates are in force');
}

async function exportRights(call: Call): Promise<undefined> {
  const [{ listPki }, { rightsOfHolders }, { mosquittoAcl }] = await Promise.all([
    import('../pki-list.ts'),
    import('../policy/holders.ts'),
    import('../policy/mosquitto.ts'),
  ]);
  const { options, output } = call;
  const within = scopeFilter(options);
  const rights = rightsOfHolders(await listPki(options.needed('dir', '--dir')), seatOf(options), within, systemClock.now());
  const table = { format: 1, rights: rights.map(({ identity, ...row }) => ({ identity: identityPath(identity), ...row })) };
  const asTable = options.text('format') === 'json';
  output.result(table, () => output.line(asTable ? JSON.stringify(table, undefined, 2) : mosquittoAcl(rights).trimEnd()));
  return undefined;
}

/** @throws USAGE */
function seatOf(options: Options): Seat {
  const owner = options.text('owner');
  const name = owner === undefined ? {} : { name: id(owner, 'owner') };
  if (options.text('for') === 'provider') return { role: 'provider', ...name };
  return { role: 'gateway', customer: id(options.needed('customer', '--customer'), 'customer'), site: id(options.needed('site', '--site'), 'site'), ...name };
}
