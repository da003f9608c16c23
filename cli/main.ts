import { Command, CommanderError } from 'commander';
import { WardcastError } from '../shared/base/errors.ts';
import { inherit } from './command.ts';
import { EXIT, EXIT_MEANINGS } from './exit-status.ts';
import { Output } from './output.ts';

interface Entry {
  readonly name: string;
  readonly description: string;
  /** Declares the command with its options; loaded only when it is the one asked for, so that `--help` stays quick. */
  readonly load: () => Promise<{ declare(parent: Command, description: string): void }>;
}

const COMMANDS: readonly Entry[] = [
  { name: 'demo', description: 'show everything on this machine: real processes, real software, real thefts', load: () => import('./commands/demo.ts') },
  { name: 'pki', description: 'make certificates: root, customers, groups, provider, ops, gateways, devices', load: () => import('./commands/pki.ts') },
  { name: 'keys', description: 'make the signing keys for releases and bundles', load: () => import('./commands/keys.ts') },
  { name: 'provider', description: "run the vendor's server", load: () => import('./commands/provider.ts') },
  { name: 'gateway', description: "run a site's gateway; revoke or replace one", load: () => import('./commands/gateway.ts') },
  { name: 'agent', description: "run a device's agent", load: () => import('./commands/agent.ts') },
  { name: 'customer', description: 'customers: add, list, retire', load: () => import('./commands/customer.ts') },
  { name: 'site', description: 'sites of a customer: add, list', load: () => import('./commands/site.ts') },
  { name: 'group', description: 'groups of a customer: add, list, retire-ca', load: () => import('./commands/group.ts') },
  { name: 'device', description: 'devices: add, list, move, revoke, remove', load: () => import('./commands/device.ts') },
  { name: 'ops', description: 'operators: revoke', load: () => import('./commands/ops.ts') },
  { name: 'revocations', description: 'whose certificates are refused, since when and why', load: () => import('./commands/revocations.ts') },
  { name: 'enrol', description: 'new devices: codes, approvals, alarms', load: () => import('./commands/enrol.ts') },
  { name: 'release', description: 'releases: sign, publish, list, withdraw', load: () => import('./commands/release.ts') },
  { name: 'current', description: 'which version a group shall run: set, list', load: () => import('./commands/current.ts') },
  { name: 'status', description: 'current version and customer version of every device', load: () => import('./commands/status.ts') },
  { name: 'devices', description: 'devices with their state, or as gateways see them (--seen)', load: () => import('./commands/devices.ts') },
  { name: 'watch', description: 'live progress of every transfer and installation', load: () => import('./commands/watch.ts') },
  { name: 'trace', description: 'all that is recorded about one release, or about one device', load: () => import('./commands/trace.ts') },
  { name: 'explain', description: 'every barrier between a device and a release, and which one stops it', load: () => import('./commands/explain.ts') },
  { name: 'policy', description: 'who may hear and say what, as a list for other brokers', load: () => import('./commands/policy.ts') },
  { name: 'registry', description: 'replay the record log and compare it with the registry', load: () => import('./commands/registry.ts') },
  { name: 'audit', description: 'verify the record log offline, or export it for auditors', load: () => import('./commands/audit.ts') },
  { name: 'tuf-client', description: 'verify any TUF repository over http', load: () => import('./commands/tuf-client.ts') },
  { name: 'doctor', description: 'look for what is wrong on this machine, with remedies', load: () => import('./commands/doctor.ts') },
];

/** Runs the command line; sets the exit status instead of ending the process, so that output is written out. */
export async function main(argv: readonly string[]): Promise<void> {
  let complaint = '';
  const program = inherit(new Command('wardcast'))
    .usage('COMMAND [options]')
    .description('Brings every device of every customer to its current software, each group to its own.')
    .version(await version(), '-V, --version', 'show the version')
    .helpCommand('help [command]', 'show help for a command')
    .configureHelp({ showGlobalOptions: false })
    .configureOutput({
      writeOut: (text) => void process.stdout.write(text),
      writeErr: (text) => {
        complaint += text;
      },
    })
    .addHelpText('after', `\nExit status:\n${EXIT_MEANINGS.map(([status, meaning]) => `  ${String(status).padEnd(4)} ${meaning}`).join('\n')}`)
    .addHelpText('after', '\nStart with: wardcast demo');
  await declareCommands(program, argv);
  try {
    if (argv.length === 0) {
      program.outputHelp();
      process.exitCode = EXIT.usage;
    } else await program.parseAsync([...argv], { from: 'user' });
  } catch (error) {
    if (!(error instanceof CommanderError)) throw error;
    process.exitCode = report(error, complaint, argv.includes('--json'));
  }
}

async function declareCommands(program: Command, argv: readonly string[]): Promise<void> {
  const words = argv.filter((word) => !word.startsWith('-'));
  const wanted = words[0] === 'help' ? words[1] : words[0];
  for (const entry of COMMANDS) {
    if (entry.name === wanted) (await entry.load()).declare(program, entry.description);
    // Known by name only: enough for the list of commands and for the nearest name to a slip.
    else inherit(program.command(entry.name)).description(entry.description);
  }
}

/** Commander's complaint in the form of all our errors. Asking for help or the version is no error. */
function report(error: CommanderError, complaint: string, json: boolean): number {
  if (error.exitCode === 0) return EXIT.ok;
  const [first = error.message, ...rest] = complaint.trim().split('\n');
  if (error.code === 'commander.help') {
    if (!json) process.stderr.write(complaint);
    else new Output({ json }).error(new WardcastError('USAGE', 'A sub-command is missing', { remedy: 'Run the command with --help to see them.' }));
    return EXIT.usage;
  }
  const message = first.replace(/^error: /, '').replace(/^./, (letter) => letter.toUpperCase());
  const hint = rest.join(' ').replace(/^\(|\)$/g, '');
  new Output({ json }).error(new WardcastError('USAGE', message, { remedy: hint === '' ? 'See `wardcast --help`, or `--help` after the command.' : hint }));
  return EXIT.usage;
}

async function version(): Promise<string> {
  const { default: manifest } = await import('../package.json', { with: { type: 'json' } });
  return manifest.version;
}
