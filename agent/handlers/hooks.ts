import { spawn } from 'node:child_process';
import { setTimeout as delay } from 'node:timers/promises';
import { WardcastError } from '../../shared/base/errors.ts';
import { HOOK_KILL_GRACE, HOOK_TIMEOUT, MAX_HOOK_OUTPUT, MAX_HOOK_TIMEOUT } from '../../shared/base/limits.ts';

export type HookName = 'preActivate' | 'postActivate' | 'check' | 'rollback';

export interface HookRun {
  readonly name: HookName;
  /** Absolute path of the executable. */
  readonly file: string;
  /** Milliseconds; bounded by MAX_HOOK_TIMEOUT, HOOK_TIMEOUT when absent. */
  readonly timeoutMs?: number | undefined;
  /** Working directory: the root of the hook's own release. */
  readonly directory: string;
  readonly environment: HookEnvironment;
  readonly signal?: AbortSignal | undefined;
}

/** What every hook is told. Beyond it only PATH, HOME, LANG, TZ and TMPDIR are passed on: an agent's secrets are no hook's business. */
export interface HookEnvironment {
  readonly WARDCAST_HOOK: HookName;
  readonly WARDCAST_APPLICATION: string;
  readonly WARDCAST_VERSION: string;
  readonly WARDCAST_RELEASE_DIR: string;
  /** Empty when nothing ran before. */
  readonly WARDCAST_PREVIOUS_VERSION: string;
  readonly WARDCAST_PREVIOUS_DIR: string;
}

/** How a hook ended. `output` is the end of what it wrote, at most MAX_HOOK_OUTPUT bytes. */
export interface HookEnd {
  readonly exit: number | null;
  readonly killedBy: NodeJS.Signals | null;
  readonly timedOut: boolean;
  readonly output: string;
}

/** Exit code of a hook that means "not now, ask again" (EX_TEMPFAIL of sysexits.h). */
export const TRY_AGAIN = 75;

const PASSED_ON = ['PATH', 'HOME', 'LANG', 'TZ', 'TMPDIR'] as const;

export function hookTimeout(timeoutMs: number | undefined): number {
  return Math.min(timeoutMs ?? HOOK_TIMEOUT, MAX_HOOK_TIMEOUT);
}

/**
 * Runs a hook to its end in a process group of its own, standard input empty. On timeout or abort the whole group gets
 * SIGTERM and, HOOK_KILL_GRACE later, SIGKILL. A hook that ends by itself may leave processes behind (it may have started a service).
 * @throws HOOK_FAILED when it cannot be started, ABORTED
 */
export async function runHook(run: HookRun): Promise<HookEnd> {
  run.signal?.throwIfAborted();
  const env: NodeJS.ProcessEnv = { ...run.environment };
  for (const name of PASSED_ON) if (process.env[name] !== undefined) env[name] = process.env[name];
  const child = spawn(run.file, [], { cwd: run.directory, env, detached: true, stdio: ['ignore', 'pipe', 'pipe'] });
  const tail = new Tail(MAX_HOOK_OUTPUT);
  child.stdout.on('data', (bytes: Buffer) => tail.push(bytes));
  child.stderr.on('data', (bytes: Buffer) => tail.push(bytes));

  let timedOut = false;
  let escalation: NodeJS.Timeout | undefined;
  const stop = (): void => {
    killGroup(child.pid, 'SIGTERM');
    escalation = setTimeout(() => killGroup(child.pid, 'SIGKILL'), HOOK_KILL_GRACE);
  };
  const timer = setTimeout(() => {
    timedOut = true;
    stop();
  }, hookTimeout(run.timeoutMs));
  run.signal?.addEventListener('abort', stop, { once: true });
  try {
    const { exit, killedBy } = await new Promise<{ exit: number | null; killedBy: NodeJS.Signals | null }>((resolve, reject) => {
      child.once('error', reject);
      // 'exit' and not 'close': a service the hook left behind may hold the pipes for ever.
      child.once('exit', (code, signal) => resolve({ exit: code, killedBy: signal }));
    });
    // What is still in the pipes belongs to the report; one turn of the loop is enough to read it.
    await delay(5);
    if (timedOut || run.signal?.aborted) killGroup(child.pid, 'SIGKILL');
    if (run.signal?.aborted) throw new WardcastError('ABORTED', `The ${run.name} hook was stopped because the agent stops`);
    return { exit, killedBy, timedOut, output: tail.text() };
  } catch (error) {
    if (error instanceof WardcastError) throw error;
    throw new WardcastError('HOOK_FAILED', `The ${run.name} hook could not be started: ${error instanceof Error ? error.message : String(error)}`, {
      cause: error,
      remedy: 'The hook must be an executable of the release: a binary for this device or a script with an interpreter that exists on it.',
    });
  } finally {
    clearTimeout(timer);
    clearTimeout(escalation);
    run.signal?.removeEventListener('abort', stop);
    child.stdout.destroy();
    child.stderr.destroy();
  }
}

/** Turns an end that is no success into the error that travels in the report. */
export function hookError(name: HookName, end: HookEnd, timeoutMs: number | undefined): WardcastError {
  const said = end.output === '' ? '' : `: ${end.output.trim()}`;
  if (end.timedOut)
    return new WardcastError('HOOK_TIMEOUT', `The ${name} hook was stopped after ${hookTimeout(timeoutMs)} ms${said}`, { context: { hook: name } });
  const how = end.exit === null ? `was killed by ${end.killedBy ?? 'a signal'}` : `ended with exit code ${end.exit}`;
  return new WardcastError(name === 'check' ? 'CHECK_FAILED' : 'HOOK_FAILED', `The ${name} hook ${how}${said}`, {
    context: { hook: name, ...(end.exit === null ? {} : { exit: end.exit }) },
  });
}

function killGroup(pid: number | undefined, signal: NodeJS.Signals): void {
  if (pid === undefined) return;
  try {
    process.kill(-pid, signal);
  } catch {
    // ESRCH: the group is gone, which is what was wanted.
  }
}

/** Keeps the last bytes of a stream. */
class Tail {
  readonly #limit: number;
  #kept: Buffer = Buffer.alloc(0);

  constructor(limit: number) {
    this.#limit = limit;
  }

  push(bytes: Buffer): void {
    const all = Buffer.concat([this.#kept, bytes]);
    this.#kept = all.length > this.#limit ? all.subarray(all.length - this.#limit) : all;
  }

  text(): string {
    return this.#kept.toString('utf8');
  }
}
