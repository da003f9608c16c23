import { readFile } from 'node:fs/promises';
import { dirname, resolve } from 'node:path';
import { parse, TomlError } from 'smol-toml';
import { z } from 'zod';
import { systemCode, WardcastError } from './errors.ts';
import { MAX_CONFIG } from './limits.ts';
import { nearest } from './nearest.ts';

/** A path in a configuration file; `loadConfig` makes it absolute, relative to the file's own directory. */
export const ConfigPath = z.string().min(1).max(4096).meta({ id: 'ConfigPath' });
/** `[listen]` and the like: an address to bind or to dial; port 0 lets the system choose. */
export const ConfigHost = z.string().min(1).max(253);
export const ConfigPort = z.int().min(0).max(65535);
/** `[log]`, the same for every daemon. */
export const ConfigLog = z.strictObject({ level: z.enum(['debug', 'info', 'warn', 'error']).default('info') }).default({ level: 'info' });
/** `[metrics]`, the same for every daemon; absent: none are told. */
export const ConfigMetrics = z.strictObject({ host: ConfigHost.default('127.0.0.1'), port: ConfigPort }).optional();

/**
 * Reads a TOML configuration and checks it against `schema` (strict objects of strict objects; fields made of `ConfigPath` come back absolute).
 * @throws CONFIG_INVALID naming the file, the line, the key and, for an unknown one, the nearest known one
 */
export async function loadConfig<S extends z.ZodObject>(file: string, schema: S): Promise<z.output<S>> {
  const text = await read(file);
  const raw = parseToml(file, text);
  checkKeys({ file, text }, raw, schema, []);
  const result = schema.safeParse(absolutePaths(raw, schema, dirname(resolve(file))));
  if (result.success) return result.data;
  throw badValue({ file, text }, result.error.issues[0], raw);
}

/** A path as it stands in a configuration file, which it is relative to. */
export function resolveFrom(configFile: string, path: string): string {
  return resolve(dirname(resolve(configFile)), path);
}

interface Source {
  readonly file: string;
  readonly text: string;
}

const READ_REMEDIES: Readonly<Record<string, string>> = {
  ENOENT: 'Check the path given with --config, or write the file; docs/operations.md has an example of each.',
  EISDIR: 'Name the file, not its directory.',
  EACCES: 'Give the account that runs this permission to read the file.',
};

async function read(file: string): Promise<string> {
  let bytes: Buffer;
  try {
    bytes = await readFile(file);
  } catch (error) {
    const code = systemCode(error) ?? '';
    throw invalid(file, `cannot be read: ${code === '' ? String(error) : code}`, READ_REMEDIES[code] ?? 'Name a readable TOML file with --config.', {
      cause: error,
    });
  }
  if (bytes.length > MAX_CONFIG) throw invalid(file, `has ${bytes.length} bytes; ${MAX_CONFIG} is the limit`, 'Is this the right file?');
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(bytes);
  } catch (error) {
    throw invalid(file, 'is not UTF-8 text', 'Save it as UTF-8.', { cause: error });
  }
}

function parseToml(file: string, text: string): Record<string, unknown> {
  try {
    return parse(text);
  } catch (error) {
    if (!(error instanceof TomlError)) throw error;
    const what = error.message.split('\n')[0]?.replace(/^Invalid TOML document: /, '') ?? 'unreadable';
    throw invalid(`${file}:${error.line}:${error.column}`, `is not TOML: ${what}`, 'Correct this line; see https://toml.io.', { cause: error });
  }
}

function checkKeys(source: Source, raw: Record<string, unknown>, schema: z.ZodObject, path: readonly string[]): void {
  const known = Object.keys(schema.shape);
  for (const [key, value] of Object.entries(raw)) {
    const full = [...path, key];
    if (!Object.hasOwn(schema.shape, key)) {
      const near = nearest(key, known);
      const remedy = near === undefined ? `Known here: ${known.join(', ')}.` : `Did you mean "${[...path, near].join('.')}"?`;
      throw invalid(where(source, full), `has an unknown key "${full.join('.')}"`, remedy, { key: full.join('.') });
    }
    const inner = unwrap(schema.shape[key]);
    if (inner instanceof z.ZodObject && isTable(value)) checkKeys(source, value, inner, full);
  }
}

function badValue(source: Source, issue: z.core.$ZodIssue | undefined, raw: unknown): WardcastError {
  const path = (issue?.path ?? []).map(String);
  const key = path.join('.');
  if (isMissing(raw, path)) {
    const line = path.length > 1 ? `${path.at(-1)} = … under [${path.slice(0, -1).join('.')}]` : `${key} = …`;
    return invalid(source.file, `lacks "${key}"`, `Add ${line}.`, { key });
  }
  return invalid(
    where(source, path),
    `has a bad value for "${key}": ${issue?.message ?? 'not acceptable'}`,
    'Correct this value; docs/operations.md lists every key.',
    { key },
  );
}

function invalid(place: string, what: string, remedy: string, { cause, key }: { cause?: unknown; key?: string } = {}): WardcastError {
  return new WardcastError('CONFIG_INVALID', `${place} ${what}`, { remedy, cause, ...(key === undefined ? {} : { context: { key } }) });
}

function isMissing(raw: unknown, path: readonly string[]): boolean {
  let value = raw;
  for (const key of path) {
    if (!isTable(value)) return value === undefined;
    value = value[key];
  }
  return value === undefined;
}

/** `file:line` of a key. The parser keeps no positions, so the line is looked for: right for every usual way to write a key. */
function where({ file, text }: Source, path: readonly string[]): string {
  let table: readonly string[] = [];
  for (const [index, line] of text.split('\n').entries()) {
    const header = /^\s*\[+([^\]]+)\]+/.exec(line)?.[1];
    if (header !== undefined) table = keyParts(header);
    const key = header === undefined ? /^\s*([^=#[]+?)\s*=/.exec(line)?.[1] : undefined;
    if (header === undefined && key === undefined) continue;
    const here = key === undefined ? table : [...table, ...keyParts(key)];
    // A key inside an inline table stands on the line of that table; a header alone answers only for itself.
    const match = here.every((part, level) => part === path[level]) && (here.length === path.length || key !== undefined);
    if (match) return `${file}:${index + 1}`;
  }
  return file;
}

function keyParts(dotted: string): string[] {
  return dotted.split('.').map((part) => part.trim().replace(/^(["'])(.*)\1$/, '$2'));
}

function absolutePaths(raw: Record<string, unknown>, schema: z.ZodObject, directory: string): Record<string, unknown> {
  return Object.fromEntries(
    Object.entries(raw).map(([key, value]) => {
      const inner = unwrap(schema.shape[key]);
      if (inner === ConfigPath && typeof value === 'string' && value !== '') return [key, resolve(directory, value)];
      if (inner instanceof z.ZodObject && isTable(value)) return [key, absolutePaths(value, inner, directory)];
      return [key, value];
    }),
  );
}

function unwrap(schema: unknown): unknown {
  let inner = schema;
  while (inner instanceof z.ZodOptional || inner instanceof z.ZodDefault || inner instanceof z.ZodPrefault) inner = inner.unwrap();
  return inner;
}

function isTable(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value) && !(value instanceof Date);
}
