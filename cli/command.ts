import { type Command, Option } from 'commander';
import { toWardcastError, WardcastError } from '../shared/base/errors.ts';
import { isId } from '../shared/base/identity.ts';
import { EXIT, exitStatus } from './exit-status.ts';
import { Output } from './output.ts';

/** What a command's action is given. */
export interface Call {
  readonly output: Output;
  readonly options: Options;
  /** Positional arguments in the order declared; absent optional ones are undefined. */
  readonly args: readonly (string | undefined)[];
  /** What a last, variadic argument gathered. */
  readonly rest: readonly string[];
  /** Aborts on Ctrl-C and SIGTERM. */
  readonly signal: AbortSignal;
}

/** Runs a command; the number it returns is the exit status (nothing: 0). */
export type Action = (call: Call) => Promise<number | undefined>;

/** Options as the command line gave them: texts and flags. */
export class Options {
  readonly #values: Readonly<Record<string, unknown>>;

  constructor(values: Readonly<Record<string, unknown>>) {
    this.#values = values;
  }

  text(name: string): string | undefined {
    const value = this.#values[name];
    return typeof value === 'string' ? value : undefined;
  }

  /** @throws USAGE when it is absent */
  needed(name: string, flag: string): string {
    const value = this.text(name);
    if (value === undefined || value === '') throw usage(`${flag} is missing`, `Give it as \`${flag} …\`; \`--help\` shows an example.`);
    return value;
  }

  texts(name: string): readonly string[] {
    const value = this.#values[name];
    return Array.isArray(value) ? value.filter((entry) => typeof entry === 'string') : [];
  }

  flag(name: string): boolean {
    return this.#values[name] === true;
  }

  /** @throws USAGE when it is no positive whole number */
  number(name: string, flag: string): number | undefined {
    const value = this.text(name);
    if (value === undefined) return undefined;
    const number = Number(value);
    if (!Number.isSafeInteger(number) || number < 1) throw usage(`${flag} takes a whole number above 0, not ${JSON.stringify(value)}`);
    return number;
  }
}

/** Declares a command that does something, with the options every such command has. */
export function leaf(parent: Command, usageText: string, description: string, action: Action): Command {
  const [name = usageText, ...rest] = usageText.split(' ');
  const command = parent.command(name).description(description);
  for (const argument of rest) command.argument(argument);
  inherit(command);
  command.addOption(new Option('--json', 'one JSON document on standard output, errors too'));
  command.action(async () => {
    process.exitCode = await run(command, action);
  });
  return command;
}

/** Settings that commander does not hand down to sub-commands made one by one. */
export function inherit(command: Command): Command {
  return command.showSuggestionAfterError(true).allowExcessArguments(false).helpOption('-h, --help', 'show this help').exitOverride();
}

async function run(command: Command, action: Action): Promise<number> {
  const values = command.opts();
  const options = new Options(values);
  const output = new Output({ json: options.flag('json') });
  const stop = new AbortController();
  const onSignal = (): void => stop.abort(new WardcastError('ABORTED', 'Interrupted'));
  process.once('SIGINT', onSignal);
  process.once('SIGTERM', onSignal);
  try {
    const rest: unknown = command.processedArgs.find(Array.isArray) ?? [];
    const texts = Array.isArray(rest) ? rest.filter((word) => typeof word === 'string') : [];
    return (await action({ output, options, args: command.processedArgs.map(argumentText), rest: texts, signal: stop.signal })) ?? EXIT.ok;
  } catch (thrown) {
    const error = toWardcastError(thrown);
    output.error(error);
    return exitStatus(error.code);
  } finally {
    process.off('SIGINT', onSignal);
    process.off('SIGTERM', onSignal);
  }
}

function argumentText(value: unknown): string | undefined {
  return typeof value === 'string' ? value : undefined;
}

export function usage(message: string, remedy?: string): WardcastError {
  return new WardcastError('USAGE', message, remedy === undefined ? {} : { remedy });
}

/** A positional argument that commander has already seen to be there. */
export function argument(call: Call, at: number, what: string): string {
  const value = call.args[at];
  if (value === undefined || value === '') throw usage(`${what} is missing`);
  return value;
}

/** An id: a DNS label. @throws USAGE */
export function id(text: string, what: string): string {
  if (isId(text)) return text;
  const near = text
    .toLowerCase()
    .replace(/[^a-z0-9-]+/g, '-')
    .replace(/^-+|-+$/g, '');
  throw usage(`${what} ${JSON.stringify(text)} is no id`, `Ids are a–z, 0–9 and inner hyphens, at most 63${isId(near) ? `: for example ${near}` : ''}.`);
}

/** `application@version`, as releases are named on the command line. @throws USAGE */
export function releaseName(text: string): { application: string; version: string } {
  const at = text.indexOf('@');
  const application = text.slice(0, at);
  const version = text.slice(at + 1);
  if (at < 1 || version === '') throw usage(`${JSON.stringify(text)} names no release`, 'Write APPLICATION@VERSION, for example viewer@2.1.0.');
  return { application: id(application, 'application'), version };
}
