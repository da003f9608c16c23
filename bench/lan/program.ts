import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, openSync } from 'node:fs';
import readline from 'node:readline';
import { start } from '../child.ts';

export interface ProgramOptions {
  /** Where it runs. */
  readonly folder: string;
  /** The file that its standard error is appended to. */
  readonly log: string;
  /** The file its standard output goes to; without one it is read by line(). */
  readonly output?: string;
}

/** A process on a host, spoken with in lines. */
export class Program {
  readonly #name: string;
  readonly #child: ChildProcess;
  readonly #exit: Promise<unknown[]>;
  readonly #lines: AsyncIterator<string> | undefined;

  constructor(name: string, command: readonly string[], { folder, log, output }: ProgramOptions) {
    this.#name = name;
    const files = [openSync(log, 'a'), ...(output === undefined ? [] : [openSync(output, 'w')])];
    const [errors, out = 'pipe'] = files;
    try {
      this.#child = start(command, ['pipe', out, errors], folder);
    } finally {
      for (const file of files) closeSync(file);
    }
    this.#exit = once(this.#child, 'exit');
    this.#exit.catch(() => undefined);
    // Whoever dies before it read what we wrote is noticed by its exit.
    this.#child.stdin?.on('error', () => undefined);
    if (this.#child.stdout !== null) this.#lines = readline.createInterface({ input: this.#child.stdout })[Symbol.asyncIterator]();
  }

  get pid(): number {
    return this.#child.pid ?? 0;
  }

  /** The next line it wrote, which is JSON. */
  async line(): Promise<unknown> {
    const next = await this.#lines?.next();
    if (next === undefined || next.done === true) throw new Error(`${this.#name} ended before it said what was waited for`);
    return JSON.parse(next.value);
  }

  write(line: string): void {
    this.#child.stdin?.write(`${line}\n`);
  }

  /** Resolves when it ended well. */
  async succeeded(): Promise<void> {
    const [code, signal] = await this.#exit;
    if (code !== 0) throw new Error(`${this.#name} ended with ${String(code ?? signal)}`);
  }

  async kill(): Promise<void> {
    this.#child.kill('SIGKILL');
    await this.#exit;
  }
}
