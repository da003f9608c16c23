import picocolors from 'picocolors';
import type { WardcastError } from '../shared/base/errors.ts';
import { type Column, printable, tableLines } from './table.ts';

/** Where a command writes; the process streams, or a test's. */
export interface Streams {
  out(text: string): void;
  err(text: string): void;
  readonly outIsTerminal: boolean;
  readonly errIsTerminal: boolean;
}

export const processStreams: Streams = {
  out: (text) => void process.stdout.write(text),
  err: (text) => void process.stderr.write(text),
  outIsTerminal: process.stdout.isTTY === true,
  errIsTerminal: process.stderr.isTTY === true,
};

/**
 * Whether text for people is coloured: on a terminal, unless NO_COLOR says otherwise (no-color.org); elsewhere only where
 * FORCE_COLOR asks for it. A CI server alone is no reason: what is piped there is read by programs, as anywhere.
 */
export function coloured(outIsTerminal: boolean, environment: NodeJS.ProcessEnv): boolean {
  const asked = (name: string): boolean => (environment[name] ?? '') !== '' && environment[name] !== '0';
  if (asked('NO_COLOR')) return false;
  return asked('FORCE_COLOR') || (outIsTerminal && environment['TERM'] !== 'dumb');
}

/** After this many milliseconds without a word, a command says what it is waiting for. */
const PATIENCE = 700;

/**
 * What a command says. Results go to standard output: with `--json` exactly one document, otherwise text and tables.
 * Progress and notes go to standard error.
 */
export class Output {
  readonly json: boolean;
  readonly colors: ReturnType<typeof picocolors.createColors>;
  readonly #streams: Streams;

  constructor(options: { json: boolean; streams?: Streams }) {
    this.json = options.json;
    this.#streams = options.streams ?? processStreams;
    this.colors = picocolors.createColors(coloured(this.#streams.outIsTerminal, process.env));
  }

  get terminal(): boolean {
    return this.#streams.errIsTerminal;
  }

  /** The command's result: the document with `--json`, else what `human` prints. */
  result(document: unknown, human: () => void): void {
    if (this.json) this.#streams.out(`${JSON.stringify(document)}\n`);
    else human();
  }

  /** A line of the result, for people. */
  line(text = ''): void {
    if (!this.json) this.#streams.out(`${text}\n`);
  }

  table<Row>(rows: readonly Row[], columns: readonly Column<Row>[], empty = 'nothing'): void {
    if (rows.length === 0) this.line(this.colors.dim(empty));
    else for (const line of tableLines(rows, columns, this.colors.bold)) this.line(line);
  }

  /** A line of progress, for people, also with `--json`: standard error. */
  note(text = ''): void {
    this.#streams.err(`${text}\n`);
  }

  error(error: WardcastError): void {
    if (this.json) {
      this.#streams.out(`${JSON.stringify({ error: error.toJSON() })}\n`);
      return;
    }
    this.#streams.err(`${this.colors.red(`wardcast: ${printable(error.message)}`)} ${this.colors.dim(`[${error.code}]`)}\n`);
    for (const reason of causes(error)) this.#streams.err(this.colors.dim(`  because: ${printable(reason)}\n`));
    if (error.remedy !== undefined) this.#streams.err(`  ${printable(error.remedy)}\n`);
  }

  /** Runs `work`; when it takes longer than a moment, says what is being waited for. */
  async patiently<T>(what: string, work: Promise<T>): Promise<T> {
    const timer = setTimeout(() => this.note(this.colors.dim(`${what} …`)), PATIENCE);
    try {
      return await work;
    } finally {
      clearTimeout(timer);
    }
  }
}

function causes(error: Error): string[] {
  const found: string[] = [];
  let cause: unknown = error.cause;
  while (cause instanceof Error && found.length < 3) {
    // A wrapped message usually ends with its cause's message; saying it twice helps nobody.
    if (!error.message.includes(cause.message)) found.push(cause.message);
    cause = cause.cause;
  }
  return found;
}
