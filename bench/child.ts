import { type ChildProcess, type StdioOptions, spawn } from 'node:child_process';
import { once } from 'node:events';
import readline from 'node:readline';
import type { Daemon } from '../cli/built.ts';
import { settingsOf } from '../cli/daemon.ts';

/** A server in a process of its own. */
export interface Server {
  readonly pid: number;
  /** The first line it wrote, which says that it is ready. */
  readonly said: unknown;
  stop(): Promise<void>;
}

/** The command line of one of this folder's workers, started as the command line starts the daemon that it stands for. */
export function worker(name: string, options: object, daemon: Daemon = 'gateway'): string[] {
  const { flags, env } = settingsOf(daemon);
  return [
    'env',
    ...Object.entries(env).map(([key, value]) => `${key}=${value}`),
    process.execPath,
    ...flags,
    `${import.meta.dirname}/${name}.ts`,
    JSON.stringify(options),
  ];
}

/** Starts a worker that serves until it is stopped; resolves when it wrote its first line, one of JSON. */
export async function startServer(command: readonly string[]): Promise<Server> {
  const child = start(command, ['ignore', 'pipe', 'inherit']);
  const exit = once(child, 'exit');
  const lines = readline.createInterface({ input: stdoutOf(child) });
  const first = once(lines, 'line');
  const early = exit.then(([code]: unknown[]) => Promise.reject(new Error(`${command.join(' ')} ended with ${String(code)} before it was ready`)));
  early.catch(() => undefined);
  const [line]: unknown[] = await Promise.race([first, early]);
  return { pid: child.pid ?? 0, said: JSON.parse(String(line)), stop: () => stop(child, exit) };
}

/** Starts a program that says nothing when it is ready: `ready` finds out. */
export async function startProgram(command: readonly string[], ready: () => Promise<boolean>): Promise<Server> {
  const child = start(command, ['ignore', 'ignore', 'inherit']);
  const exit = once(child, 'exit');
  for (let tries = 0; !(await ready()); tries++) {
    if (child.exitCode !== null || tries > 500) throw new Error(`${command.join(' ')} did not start`);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
  return { pid: child.pid ?? 0, said: undefined, stop: () => stop(child, exit) };
}

/** Runs a command to its end and reads the one JSON document it wrote. */
export async function runToEnd(command: readonly string[], signal: AbortSignal): Promise<unknown> {
  const child = start(command, ['ignore', 'pipe', 'inherit']);
  const kill = (): void => void child.kill('SIGKILL');
  signal.addEventListener('abort', kill, { once: true });
  const exit = once(child, 'exit');
  let text = '';
  for await (const part of stdoutOf(child)) text += String(part);
  const [code]: unknown[] = await exit;
  signal.removeEventListener('abort', kill);
  signal.throwIfAborted();
  if (code !== 0) throw new Error(`${command.join(' ')} ended with ${String(code)}`);
  return JSON.parse(text);
}

/** Started but not ended children die with us, however we end. */
const living = new Set<ChildProcess>();
process.on('exit', () => {
  for (const child of living) child.kill('SIGKILL');
});

/** Starts any command. */
export function start(command: readonly string[], stdio: StdioOptions, cwd = process.cwd()): ChildProcess {
  const [program = '', ...args] = command;
  const child = spawn(program, args, { stdio, cwd });
  living.add(child);
  child.once('exit', () => living.delete(child));
  return child;
}

async function stop(child: ChildProcess, exit: Promise<unknown>): Promise<void> {
  child.kill('SIGTERM');
  await exit;
}

function stdoutOf(child: ChildProcess): NodeJS.ReadableStream {
  if (child.stdout === null) throw new Error('no stdout');
  return child.stdout;
}
