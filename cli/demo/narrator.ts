import type { Output } from '../output.ts';
import { type Column, tableLines } from '../table.ts';

/** Tells the demo's story: on standard output for people, on standard error when that belongs to the report. */
export class Narrator {
  readonly colors: Output['colors'];
  readonly terminal: boolean;
  readonly #plain: (text: string) => void;
  #write: (text: string) => void;
  readonly #start = performance.now();
  #step = 0;

  constructor(output: Output) {
    this.colors = output.colors;
    // Bars on standard error and text on standard output only mix where both are the same terminal.
    this.terminal = output.terminal && (output.json || process.stdout.isTTY === true);
    this.#plain = output.json ? (text) => output.note(text) : (text) => output.line(text);
    this.#write = this.#plain;
  }

  /** Begins a step: a number, what happens, and why it matters. */
  step(title: string, why: string): void {
    this.#step++;
    this.#write('');
    this.#write(this.colors.bold(`${this.#step}. ${title}`) + this.colors.dim(`  [${((performance.now() - this.#start) / 1000).toFixed(1)} s]`));
    for (const line of wrap(why, 116)) this.#write(this.colors.dim(`   ${line}`));
  }

  /** Sends everything elsewhere while something else owns the terminal; without an argument back again. */
  redirect(write?: (text: string) => void): void {
    this.#write = write ?? this.#plain;
  }

  /** What this is all about, before the first step. */
  title(title: string, what: string): void {
    this.#write(this.colors.bold(title));
    for (const line of wrap(what, 116)) this.#write(this.colors.dim(line));
  }

  say(text: string): void {
    this.#write(`   ${text}`);
  }

  good(text: string): void {
    this.#write(`   ${this.colors.green('✓')} ${text}`);
  }

  bad(text: string): void {
    this.#write(`   ${this.colors.red('✗')} ${text}`);
  }

  table<Row>(rows: readonly Row[], columns: readonly Column<Row>[]): void {
    this.#write('');
    for (const line of tableLines(rows, columns, this.colors.bold)) this.#write(`   ${line}`);
  }
}

function wrap(text: string, width: number): string[] {
  const lines: string[] = [];
  let line = '';
  for (const word of text.split(' ')) {
    if (line !== '' && line.length + 1 + word.length > width) {
      lines.push(line);
      line = word;
    } else line = line === '' ? word : `${line} ${word}`;
  }
  return line === '' ? lines : [...lines, line];
}
