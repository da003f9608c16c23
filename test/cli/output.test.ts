import { spawnSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { expect, it } from 'vitest';
import { coloured, Output } from '../../cli/output.ts';

it('colours what a person reads on a terminal, and only that', () => {
  expect(coloured(true, { TERM: 'xterm' })).toBe(true);
  expect(coloured(true, { TERM: 'dumb' })).toBe(false);
  expect(coloured(false, { TERM: 'xterm' })).toBe(false);
  expect(coloured(false, { TERM: 'xterm', CI: 'true' })).toBe(false);
});

it('does as NO_COLOR and FORCE_COLOR say, the first of them first', () => {
  expect(coloured(true, { NO_COLOR: '1' })).toBe(false);
  expect(coloured(false, { FORCE_COLOR: '1' })).toBe(true);
  expect(coloured(false, { FORCE_COLOR: '0' })).toBe(false);
  expect(coloured(true, { NO_COLOR: '1', FORCE_COLOR: '1' })).toBe(false);
  expect(coloured(true, { NO_COLOR: '' })).toBe(true);
});

it('writes no escape into a pipe, not even on a CI server', () => {
  const program = fileURLToPath(new URL('../../cli/wardcast.mjs', import.meta.url));
  const { FORCE_COLOR: _, ...environment } = process.env;
  const { stdout } = spawnSync(process.execPath, [program, 'doctor'], { encoding: 'utf8', env: { ...environment, HOME: '/nonexistent', CI: 'true' } });
  expect(stdout).toMatch(/^fail +config/m);
  expect(stdout).not.toContain('\u001b');
});

it('leaves a table plain where the stream is no terminal', () => {
  const written: string[] = [];
  const streams = { out: (text: string) => void written.push(text), err: () => {}, outIsTerminal: false, errIsTerminal: false };
  new Output({ json: false, streams }).table([{ name: 'ct' }], [{ title: 'GROUP', value: (row) => row.name }]);
  expect(written).toEqual(['GROUP\n', 'ct\n']);
});
