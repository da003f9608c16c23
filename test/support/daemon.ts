import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import readline from 'node:readline';

export interface LogLine {
  readonly event: string;
  readonly level: string;
  readonly [field: string]: unknown;
}

/** One real daemon process and what it logged. */
export class Daemon {
  readonly name: string;
  readonly lines: LogLine[] = [];
  readonly #spawn: () => ChildProcess;
  readonly #waiting = new Set<() => void>();
  #child: ChildProcess | undefined;

  constructor(name: string, spawn: () => ChildProcess) {
    this.name = name;
    this.#spawn = spawn;
  }

  get running(): boolean {
    return this.#child !== undefined && this.#child.exitCode === null && this.#child.signalCode === null;
  }

  get pid(): number {
    const pid = this.#child?.pid;
    if (pid === undefined) throw new Error(`${this.name} does not run`);
    return pid;
  }

  /** Starts the process; resolves when it says `ready`. */
  async start(): Promise<void> {
    const from = this.lines.length;
    const child = this.#spawn();
    this.#child = child;
    if (child.stderr !== null) readline.createInterface({ input: child.stderr }).on('line', (line) => this.#read(line));
    child.stdout?.resume();
    child.on('exit', () => this.#wake());
    await this.logged((line) => line.event === 'ready', { from, orExit: true });
  }

  /** Starts without waiting: for daemons that are killed at any moment. */
  launch(): void {
    const child = this.#spawn();
    this.#child = child;
    if (child.stderr !== null) readline.createInterface({ input: child.stderr }).on('line', (line) => this.#read(line));
    child.stdout?.resume();
    child.on('exit', () => this.#wake());
  }

  /** SIGKILL: as a power cut for the process. */
  async kill(): Promise<void> {
    await this.#end('SIGKILL');
  }

  /** SIGTERM: a clean stop. Resolves with the exit code. */
  async stop(): Promise<number | null> {
    return this.#end('SIGTERM');
  }

  /** The first line from `from` on that fits, logged already or in the future. */
  async logged(fits: (line: LogLine) => boolean, options: { from?: number; orExit?: boolean; timeoutMs?: number } = {}): Promise<LogLine> {
    let at = options.from ?? 0;
    const deadline = Date.now() + (options.timeoutMs ?? 60_000);
    for (;;) {
      for (; at < this.lines.length; at++) {
        const line = this.lines[at];
        if (line !== undefined && fits(line)) return line;
      }
      if (options.orExit === true && !this.running) throw new Error(`${this.name} ended: ${this.tail()}`);
      const left = deadline - Date.now();
      if (left <= 0) throw new Error(`${this.name} never logged what was waited for: ${this.tail()}`);
      await new Promise<void>((resolve) => {
        const wake = (): void => {
          clearTimeout(timer);
          this.#waiting.delete(wake);
          resolve();
        };
        const timer = setTimeout(wake, left);
        this.#waiting.add(wake);
      });
    }
  }

  tail(lines = 15): string {
    return this.lines
      .slice(-lines)
      .map((line) => JSON.stringify(line))
      .join('\n');
  }

  #read(line: string): void {
    try {
      this.lines.push(JSON.parse(line));
    } catch {
      // Not JSON: a crash of the runtime itself; keep it for the failure message.
      this.lines.push({ event: 'raw', level: 'error', line });
    }
    this.#wake();
  }

  #wake(): void {
    for (const wake of [...this.#waiting]) wake();
  }

  async #end(signal: NodeJS.Signals): Promise<number | null> {
    const child = this.#child;
    if (child === undefined || !this.running) return child?.exitCode ?? null;
    const exit = once(child, 'exit');
    child.kill(signal);
    await exit;
    return child.exitCode;
  }
}
