import { type ChildProcess, spawn } from 'node:child_process';
import { createWriteStream, type WriteStream } from 'node:fs';
import { readFile } from 'node:fs/promises';
import path from 'node:path';
import { createInterface } from 'node:readline';
import { WardcastError } from '../../shared/base/errors.ts';
import type { Daemon } from '../built.ts';
import { daemonStart } from '../daemon.ts';

/** Milliseconds: a loaded machine may take long to start a daemon; then something is wrong. */
const START_TIMEOUT = 30_000;
/** Milliseconds a daemon may take for a clean stop before it is killed. */
const STOP_TIMEOUT = 5_000;
/** Lines of a dead daemon's log that are quoted. */
const QUOTED = 3;

/** A line of a daemon's log. */
export type LogLine = Readonly<Record<string, unknown>>;

/** One daemon as a real process, with its log in a file. */
export class Inhabitant {
  readonly name: string;
  readonly #daemon: Daemon;
  readonly #config: string;
  readonly #log: string;
  readonly #house: { readonly closed: boolean };
  readonly #listeners = new Set<(line: LogLine) => void>();
  #child: ChildProcess | undefined;
  #ended: Promise<void> = Promise.resolve();
  #port = 0;

  constructor(options: { name: string; daemon: Daemon; config: string; log: string; house: { readonly closed: boolean } }) {
    this.#house = options.house;
    this.name = options.name;
    this.#daemon = options.daemon;
    this.#config = options.config;
    this.#log = options.log;
  }

  /** The port it listens on, as it said when it was ready. */
  get port(): number {
    return this.#port;
  }

  /** Told of every line of its log from now on. */
  onLine(listener: (line: LogLine) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  /** Starts the process and waits until it says that it is ready. @throws INTERNAL with the end of its log when it does not */
  async start(signal: AbortSignal): Promise<void> {
    signal.throwIfAborted();
    // A start that was under way when the house was closed would outlive it.
    if (this.#house.closed) throw new WardcastError('ABORTED', `${this.name} is not started any more`);
    const { args, env } = daemonStart(this.#daemon, this.#config);
    const child = spawn(process.execPath, args, { stdio: ['ignore', 'ignore', 'pipe'], env });
    this.#child = child;
    const file = createWriteStream(this.#log, { flags: 'a' });
    this.#ended = new Promise((resolve) => {
      child.once('close', () => {
        if (this.#child === child) this.#child = undefined;
        file.end(resolve);
      });
    });
    await this.#untilReady(child, file, signal);
  }

  /** The power button: no time to tidy up. */
  async kill(): Promise<void> {
    this.#child?.kill('SIGKILL');
    await this.#ended;
  }

  async stop(): Promise<void> {
    const child = this.#child;
    if (child === undefined) return;
    child.kill('SIGTERM');
    const timer = setTimeout(() => child.kill('SIGKILL'), STOP_TIMEOUT);
    await this.#ended;
    clearTimeout(timer);
  }

  /** When there is no time left even to wait. */
  killNow(): void {
    this.#child?.kill('SIGKILL');
  }

  async #untilReady(child: ChildProcess, file: WriteStream, signal: AbortSignal): Promise<void> {
    const { stderr } = child;
    if (stderr === null) throw new WardcastError('INTERNAL', 'A daemon was started without its log');
    let timer: NodeJS.Timeout | undefined;
    let onAbort: (() => void) | undefined;
    try {
      await new Promise<void>((resolve, reject) => {
        createInterface({ input: stderr }).on('line', (text) => {
          file.write(`${text}\n`);
          const line = parseLine(text);
          if (line === undefined) return;
          if (line['event'] === 'ready') {
            if (typeof line['port'] === 'number') this.#port = line['port'];
            resolve();
          }
          for (const listener of this.#listeners) listener(line);
        });
        onAbort = () => reject(signal.reason);
        signal.addEventListener('abort', onAbort, { once: true });
        child.once('error', reject);
        child.once('close', () => void this.#epitaph('ended before it was ready').then(reject));
        timer = setTimeout(() => void this.#epitaph(`was not ready after ${START_TIMEOUT / 1000} s`).then(reject), START_TIMEOUT);
      });
    } finally {
      clearTimeout(timer);
      if (onAbort !== undefined) signal.removeEventListener('abort', onAbort);
    }
  }

  async #epitaph(what: string): Promise<WardcastError> {
    // Its last words are wanted, not its company.
    this.killNow();
    await this.#ended;
    const log = await readFile(this.#log, 'utf8').catch(() => '');
    return new WardcastError('INTERNAL', `${this.name} ${what}: ${log.trim().split('\n').slice(-QUOTED).join(' | ')}`);
  }
}

/** All daemons of the demo: whatever happens, none survives it. */
export class Household {
  readonly #logs: string;
  readonly #all = new Map<string, Inhabitant>();
  #closed = false;
  readonly #onExit = (): void => {
    for (const one of this.#all.values()) one.killNow();
  };

  constructor(logs: string) {
    this.#logs = logs;
    process.on('exit', this.#onExit);
  }

  add(name: string, daemon: Daemon, config: string): Inhabitant {
    const log = path.join(this.#logs, `${name.replaceAll(/[ /]/g, '-')}.log`);
    const one = new Inhabitant({ name, daemon, config, log, house: this });
    this.#all.set(name, one);
    return one;
  }

  get(name: string): Inhabitant {
    const one = this.#all.get(name);
    if (one === undefined) throw new WardcastError('INTERNAL', `Nobody here is called ${name}`);
    return one;
  }

  get closed(): boolean {
    return this.#closed;
  }

  async end(): Promise<void> {
    this.#closed = true;
    await Promise.all([...this.#all.values()].map((one) => one.stop()));
    process.off('exit', this.#onExit);
  }
}

function parseLine(text: string): LogLine | undefined {
  try {
    const value: unknown = JSON.parse(text);
    return typeof value === 'object' && value !== null ? Object.fromEntries(Object.entries(value)) : undefined;
  } catch {
    // Not every line need be JSON (Node's own warnings); it is in the file all the same.
    return undefined;
  }
}
