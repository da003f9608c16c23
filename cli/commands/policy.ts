import type { Command } from 'commander';
import { Option } from 'commander';
import { systemClock } from '../../shared/base/clock.ts';
import { identityPath } from '../../shared/base/identity.ts';
import { type Call, id, inherit, leaf, type Options, usage } from '../command.ts';
import { withConnection, withOps } from '../connection.ts';
import type { Seat } from '../policy/holders.ts';
import type { Known } from '../policy/standing.ts';
import { scopeFilter } from '../scope.ts';

export function declare(parent: Command, description: string): void {
  const policy = inherit(parent.command('policy')).description(`${description}.\nThe same policy that the doors of Wardcast's own daemons ask.`);
  withConnection(leaf(policy, 'known', 'what the provider knows of the holders, to carry to the machine with the PKI folder', showKnown))
    .option('--customer <customer>', 'only of this customer')
    .option('--site <site>', 'only of this site');
  withConnection(leaf(policy, 'export', 'what each holder of a certificate may hear and say at one broker', exportRights))
    .option('--dir <dir>', 'the folder of the PKI: the certificates in force are those it issued', 'pki')
    .addOption(new Option('--for <broker>', 'whose broker').choices(['provider', 'gateway']).default('gateway'))
    .addOption(new Option('--format <format>', 'an access list (mosquitto 2.0) or the plain table').choices(['mosquitto', 'json']).default('mosquitto'))
    .option('--customer <customer>', "the gateway's customer; for the provider's broker: only this customer's gateways")
    .option('--site <site>', "the gateway's site; for the provider's broker: only this site's gateways")
    .option('--known <file>', 'what `wardcast policy known` wrote elsewhere; without it the provider is asked')
    .option('--offline', 'by the PKI folder alone: with devices that were revoked, moved or removed, without those that enrolled at the provider')
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
  const seat = seatOf(options);
  const rows = await listPki(options.needed('dir', '--dir'));
  const { rights, leftOut } = rightsOfHolders(rows, seat, within, systemClock.now(), await knownTo(call));
  const table = { format: 1, rights: rights.map(({ identity, ...row }) => ({ identity: identityPath(identity), ...row })), leftOut };
  const asTable = options.text('format') === 'json';
  output.result(table, () => output.line(asTable ? JSON.stringify(table, undefined, 2) : mosquittoAcl(rights, leftOut).trimEnd()));
  return undefined;
}

async function showKnown(call: Call): Promise<undefined> {
  const known = await askKnown(call);
  call.output.result(known, () => call.output.line(JSON.stringify(known)));
  return undefined;
}

async function knownTo(call: Call): Promise<Known | undefined> {
  const { options } = call;
  const file = options.text('known');
  if (options.flag('offline')) {
    if (file !== undefined) throw usage('--known and --offline exclude each other');
    return undefined;
  }
  if (file === undefined) return await askKnown(call);
  const [{ readFile }, { Known: shape }] = await Promise.all([import('node:fs/promises'), import('../policy/standing.ts')]);
  const checked = await readFile(file, 'utf8').then(
    (text) => shape.safeParse(parsed(text)),
    () => undefined,
  );
  if (checked?.success !== true) throw usage(`${file} is not what \`wardcast policy known\` wrote`, 'Write it anew where the provider can be reached.');
  return checked.data;
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

function askKnown(call: Call): Promise<Known> {
  const { customer, site } = scopeFilter(call.options);
  const filter = { ...(customer === undefined ? {} : { customer }) };
  return withOps(call, async (ops) => ({
    format: 1,
    // Not by site: where a device was moved to tells whether it may still be here.
    devices: await ops.call('device.list', filter),
    revoked: await ops.call('revocation.list', { ...filter, ...(site === undefined ? {} : { site }) }),
    customers: await ops.call('customer.list', {}),
  }));
}

/** @throws USAGE */
function seatOf(options: Options): Seat {
  const owner = options.text('owner');
  const name = owner === undefined ? {} : { name: id(owner, 'owner') };
  if (options.text('for') === 'provider') return { role: 'provider', ...name };
  return { role: 'gateway', customer: id(options.needed('customer', '--customer'), 'customer'), site: id(options.needed('site', '--site'), 'site'), ...name };
}
