import { type ChildProcess, spawn } from 'node:child_process';
import { constants } from 'node:os';
import type { Command } from 'commander';
import { type Daemon, programOf } from './built.ts';
import { inherit, leaf } from './command.ts';
import { EXIT } from './exit-status.ts';

/** Flags of Node and variables of its environment. */
export interface NodeSettings {
  readonly flags: readonly string[];
  readonly env: Readonly<Record<string, string>>;
}

/** V8 collects when the heap has grown by half since the last time, not when it is four times as large: nonsense from strangers is garbage at once. */
const HEAP_GROWTH = '--heap-growing-percent=50';

/**
 * How Node is told to stay small. Chunks live for a moment: a small young generation frees them before they press for full collections, and malloc
 * needs no arena for each thread. Measured: a quarter less CPU while chunks are served, 35 MiB less memory (docs/performance.md).
 */
const NODE_SETTINGS: NodeSettings = { flags: ['--max-semi-space-size=2', HEAP_GROWTH], env: { MALLOC_ARENA_MAX: '2' } };

/**
 * An agent does little for weeks. What it does rarely is not worth an optimizing compiler, whose pages and working memory stay; and the working memory
 * of V8's parser, in segments of 32 KiB, goes back to the system if malloc maps it piece by piece. Measured: 20 MiB.
 */
const AGENT_SETTINGS: NodeSettings = {
  flags: [
    '--optimize-for-size',
    '--max-semi-space-size=1',
    HEAP_GROWTH,
    '--invocation-count-for-maglev=10000',
    '--invocation-count-for-maglev-osr=5000',
    '--invocation-count-for-turbofan=50000',
    '--invocation-count-for-osr=10000',
  ],
  env: { ...NODE_SETTINGS.env, MALLOC_MMAP_THRESHOLD_: '32768' },
};

export function settingsOf(daemon: Daemon): NodeSettings {
  return daemon === 'agent' ? AGENT_SETTINGS : NODE_SETTINGS;
}

/** Arguments of Node and environment that start a daemon: it is a process of its own, never imported. */
export function daemonStart(daemon: Daemon, config: string): { readonly args: readonly string[]; readonly env: NodeJS.ProcessEnv } {
  const { flags, env } = settingsOf(daemon);
  return { args: [...flags, programOf(daemon), '--config', config], env: { ...process.env, ...env } };
}

export function declareDaemon(parent: Command, daemon: Daemon, description: string): Command {
  const group = inherit(parent.command(daemon)).description(description);
  leaf(group, 'run', `${description}; logs JSON lines to standard error`, async ({ options, output }) => {
    const { args, env } = daemonStart(daemon, options.needed('config', '--config'));
    // The daemon takes this process over where the system can do that: a supervisor then watches the daemon itself, and nothing stays beside it.
    if (!output.json) process.execve?.(process.execPath, [process.execPath, ...args], env);
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
