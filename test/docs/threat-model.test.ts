import { readFileSync } from 'node:fs';
import path from 'node:path';
import { describe, expect, it } from 'vitest';

const docs = path.resolve(import.meta.dirname, '../../docs');
const page = readFileSync(path.join(docs, 'threat-model.md'), 'utf8');
const rows = page.split('\n').filter((line) => line.startsWith('| ') && !line.startsWith('| attacker'));

interface Named {
  readonly title: string;
  readonly file: string;
}

/** The links to tests: their text is the title. */
function testsIn(text: string): Named[] {
  return [...text.matchAll(/\[([^[\]]+)\]\((\.\.\/test\/[^()#\s]+)\)/g)].map(([, title = '', file = '']) => ({ title, file }));
}

/** Is there a test or law of exactly this title in the source? */
function isIn(source: string, title: string): boolean {
  return ["'", '"', '`'].some((quote) => source.includes(`${quote}${title}${quote}`));
}

describe('the threat model', () => {
  it('names a test in every row', () => {
    expect(rows.length).toBeGreaterThan(12);
    for (const row of rows) expect(testsIn(row).length, row.slice(0, 80)).toBeGreaterThan(0);
  });

  it.each(testsIn(page).map(({ title, file }) => [title, file]))('names a test that exists: %s', (title, file) => {
    expect(isIn(readFileSync(path.resolve(docs, file), 'utf8'), title), `${file} has no "${title}"`).toBe(true);
  });

  it('would notice a test that was renamed', () => {
    const [named] = testsIn('| x | [keeps a promise](../test/docs/threat-model.test.ts) |');
    expect(named).toEqual({ title: 'keeps a promise', file: '../test/docs/threat-model.test.ts' });
    expect(isIn("it('keeps the promise', () => undefined)", 'keeps a promise')).toBe(false);
    expect(isIn("it('keeps a promise', () => undefined)", 'keeps a promise')).toBe(true);
  });
});
