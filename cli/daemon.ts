import { type ChildProcess, spawn } from 'node:child_process';
import { constants } from 'node:os';
import { fileURLToPath } from 'node:url';
import type { Command } from 'commander';
import { inherit, leaf } from './command.ts';
import { EXIT } from './exit-status.ts';

export type Daemon = 'provider' | 'gateway' | 'agent';

/** The file that is a daemon's whole program: it is started as a process of its own, never imported. */
export function daemonProgram(daemon: Daemon): string {
  return fileURLToPath(new URL(`../${daemon}/main.ts`, import.meta.url));
}

export function declareDaemon(parent: Command, daemon: Daemon, description: string): void {
  const group = inherit(parent.command(daemon)).description(description);
  leaf(group, 'run', `${description}; logs JSON lines to standard error`, async ({ options, output }) => {
    const child = spawn(process.execPath, [daemonProgram(daemon), '--config', options.needed('config', '--config')], {
      stdio: ['ignore', 'inherit', 'inherit'],
    });
    const status = await outlive(child);
    output.result({ daemon, exitStatus: status }, () => undefined);
    return status;
  }).requiredOption('--config <file>', `the ${daemon}'s TOML file`);
}

/** Passes signals on and resolves with the child's exit status; one that a signal ended counts 128 + its number, as in shells. */
async function outlive(child: ChildProcess): Promise<number> {
  const signals = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const;
  const forward = (signal: NodeJS.Signals): void => void child.kill(signal);
  for (const signal of signals) process.on(signal, forward);
  try {
    return await new Promise<number>((resolve, reject) => {
      child.once('error', reject);
      child.once('exit', (status, signal) => resolve(status ?? (signal === null ? EXIT.failed : 128 + constants.signals[signal])));
    });
  } finally {
    for (const signal of signals) process.off(signal, forward);
  }
}
