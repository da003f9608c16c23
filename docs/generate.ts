import { readFile, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { ERROR_CODES } from '../shared/base/errors.ts';
import { buildAsyncApi } from '../shared/wire/asyncapi.ts';

/** Writes the reference pages that are made from the code. `--check` only compares; exit 1 when one is stale. */

const here = import.meta.dirname;

function errorsPage(): string {
  const rows = Object.entries(ERROR_CODES).map(([code, meaning]) => `| \`${code}\` | ${meaning} |`);
  return [
    '# Errors',
    '',
    'Made from `shared/base/errors.ts` by `npm run docs`.',
    '',
    'Every failure has one of these codes; codes are the interface, messages are not. With `--json` the command line prints',
    '`{"error":{"code","message","remedy"}}`; daemons log the same three in the field `error`. The remedy says what to do.',
    '',
    '| code | meaning |',
    '|---|---|',
    ...rows,
    '',
  ].join('\n');
}

/** Reads the doc comment above each exported constant, and the section lines. */
function limitsPage(source: string): string {
  const rows: string[] = [];
  let comment = '';
  for (const line of source.split('\n')) {
    const section = /^\/\/ ── (.+?) ─/.exec(line)?.[1];
    const text = /^\/\*\* (.*) \*\/$/.exec(line)?.[1];
    const [, name, value] = /^export const (\w+) = (.+);$/.exec(line) ?? [];
    if (section !== undefined)
      rows.push('', `## ${section[0]?.toUpperCase() ?? ''}${section.slice(1)}`, '', '| name | value | what it limits, and why |', '|---|---|---|');
    if (text !== undefined) comment = text;
    if (name !== undefined && value !== undefined) rows.push(`| \`${name}\` | ${value.replace(/(?<=\d)_(?=\d)/g, ',').replaceAll('*', '×')} | ${comment} |`);
  }
  return [
    '# Limits',
    '',
    'Made from `shared/base/limits.ts` by `npm run docs`. SECOND, MINUTE and DAY are in milliseconds, KiB and MiB in bytes.',
    ...rows,
    '',
  ].join('\n');
}

const { version }: { version: string } = JSON.parse(await readFile(path.join(here, '../package.json'), 'utf8'));
const pages = new Map<string, string>([
  ['errors.md', errorsPage()],
  ['asyncapi.json', `${JSON.stringify(buildAsyncApi(version), null, 2)}\n`],
  ['limits.md', limitsPage(await readFile(path.join(here, '../shared/base/limits.ts'), 'utf8'))],
]);

const check = process.argv.includes('--check');
for (const [name, text] of pages) {
  const file = path.join(here, name);
  if (!check) await writeFile(file, text);
  else if ((await readFile(file, 'utf8')) !== text) {
    process.stderr.write(`docs/${name} is stale: run npm run docs\n`);
    process.exitCode = 1;
  }
}
