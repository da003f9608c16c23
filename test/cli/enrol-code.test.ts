import { execFile } from 'node:child_process';
import { writeFile } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { promisify } from 'node:util';
import { expect, it } from 'vitest';
import { Operator, Vendor } from '../provider/provider-rig.ts';
import { ensurePrograms } from '../support/debian.ts';
import { temporaryDirectory } from '../support/temporary-directory.ts';
import { atTerminal } from '../support/terminal.ts';

const WARDCAST = resolve(import.meta.dirname, '../../cli/wardcast.mjs');
const run = promisify(execFile);
/** Pixels per half of a character. */
const SCALE = 8;

it('shows a code at the terminal that a scanner reads: the one that is printed under it', async () => {
  await ensurePrograms(['zbarimg']);
  const directory = await temporaryDirectory();
  const vendor = await Vendor.found();
  const provider = await vendor.inProcess(await temporaryDirectory());
  const ops = await new Operator(vendor.credentials('ops'), provider.port).up();
  try {
    await ops.founded();
    const line = ['--provider', `127.0.0.1:${provider.port}`, '--credentials', join(vendor.directory, 'credentials', 'ops')];
    const shown = await atTerminal(directory, [WARDCAST, 'enrol', 'token', ...line, '--customer', 'acme', '--site', 'north', '--group', 'ct']);
    expect(shown.status).toBe(0);
    const code = /^([0-9A-Z]{4}(?:-[0-9A-Z]{4}){3}) {3}for 1 /m.exec(shown.screen)?.[1];
    expect(code).toBeDefined();
    const picture = join(directory, 'screen.pgm');
    await writeFile(picture, photograph(shown.screen.split(/\r?\n/).filter((row) => /[▀▄█]/.test(row))));
    expect((await run('zbarimg', ['--quiet', '--raw', picture])).stdout.trim()).toBe(code);
  } finally {
    await ops.close();
    await provider.close();
    await vendor.close();
  }
});

/** Half blocks as a dark terminal shows them, as a picture (PGM): what is printed is light. */
function photograph(rows: readonly string[]): Buffer {
  const width = Math.max(...rows.map((row) => row.length)) + 8;
  const lines = ['', '', ...rows, '', ''].flatMap((row) =>
    ['▀█', '▄█'].map((light) =>
      Buffer.from([...`    ${row}`.padEnd(width)].flatMap((glyph) => Array.from({ length: SCALE }, () => (light.includes(glyph) ? 255 : 0)))),
    ),
  );
  return Buffer.concat([
    Buffer.from(`P5 ${width * SCALE} ${lines.length * SCALE} 255\n`),
    ...lines.flatMap((line) => Array.from({ length: SCALE }, () => line)),
  ]);
}
