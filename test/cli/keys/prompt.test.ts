import { readFile } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { expect, it } from 'vitest';
import { decryptKey } from '../../../shared/trust/encrypted-key.ts';
import { temporaryDirectory } from '../../support/temporary-directory.ts';
import { atTerminal } from '../../support/terminal.ts';

const WARDCAST = resolve(import.meta.dirname, '../../../cli/wardcast.mjs');
const NEW = [WARDCAST, 'keys', 'new', 'mine'];

it('asks for a new passphrase twice at a real terminal, shows nothing of it, and takes corrections', async () => {
  const cwd = await temporaryDirectory();
  const { status, screen } = await atTerminal(cwd, NEW, ['seven hillx\u007fs\r', 'seven hills\r']);
  expect(screen).not.toMatch(/seven|hill/);
  expect(status).toBe(0);
  const text = await readFile(join(cwd, 'mine.key'));
  await expect(decryptKey('mine.key', text, Buffer.from('seven hillx'))).rejects.toThrow();
  await decryptKey('mine.key', text, Buffer.from('seven hills'));
});

it('makes no key when the two differ, or when somebody leaves with Ctrl-C', async () => {
  const cwd = await temporaryDirectory();
  const differs = await atTerminal(cwd, NEW, ['one long phrase\r', 'another phrase\r']);
  expect(differs).toMatchObject({ status: 2, screen: expect.stringContaining('The two differ') });
  const left = await atTerminal(cwd, NEW, ['one long\u0003']);
  expect(left).toMatchObject({ status: 2, screen: expect.stringContaining('Nothing was entered') });
  for (const { screen } of [differs, left]) expect(screen).not.toMatch(/one long|another/);
  await expect(readFile(join(cwd, 'mine.key'))).rejects.toMatchObject({ code: 'ENOENT' });
});
