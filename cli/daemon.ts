import { type ChildProcess, spawn } from 'node:child_process';
import { constants } from 'node:os';
import { fileURLToPath } from 'node:url';
import type { Command } from 'commander';
import { inherit, leaf } from './command.ts';
import { EXIT } from './exit-status.ts';

export type Daemon = 'provider' | 'gateway' | 'agent';

/**
 * How Node is told to stay small. Chunks live for a moment: a small young generation frees them before they press for full collections, and malloc
 * needs no arena for each thread. Measured: a quarter less CPU while chunks are served, 35 MiB less memory (docs/performance.md).
 */
export const NODE_SETTINGS = { flags: ['--max-semi-space-size=2'], env: { MALLOC_ARENA_MAX: '2' } } as const;

/** Arguments of Node and environment that start a daemon: its main.ts is a process of its own, never imported. */
export function daemonStart(daemon: Daemon, config: string): { readonly args: readonly string[]; readonly env: NodeJS.ProcessEnv } {
  const program = fileURLToPath(new URL(`../${daemon}/main.ts`, import.meta.url));
  return { args: [...NODE_SETTINGS.flags, program, '--config', config], env: { ...process.env, ...NODE_SETTINGS.env } };
}

export function declareDaemon(parent: Command, daemon: Daemon, description: string): Command {
  const group = inherit(parent.command(daemon)).description(description);
  leaf(group, 'run', `${description}; logs JSON lines to standard error`, async ({ options, output }) => {
    const { args, env } = daemonStart(daemon, options.needed('config', '--config'));
    const child = spawn(process.execPath, args, { stdio: ['ignore', 'inherit', 'inherit'], env });
    const status = await outlive(child);
    output.result({ daemon, exitStatus: status }, () => undefined);
    return status;
  }).requiredOption('--config <file>', `the ${daemon}'s TOML file`);
  return group;
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
