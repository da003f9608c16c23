import { spawn } from 'node:child_process';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';
import { decryptKey } from '../../shared/trust/encrypted-key.ts';
import { temporaryDirectory } from '../support/temporary-directory.ts';

const program = fileURLToPath(new URL('../../cli/wardcast.mjs', import.meta.url));

interface Session {
  readonly status: number | null;
  /** All that the terminal showed. */
  readonly screen: string;
}

/** Runs a command at a terminal of its own (script(1)), and types an answer whenever one of the prompts stands there. */
function atTerminal(cwd: string, args: readonly string[], answers: readonly (readonly [prompt: string, typed: string])[]): Promise<Session> {
  const command = [process.execPath, program, ...args].map((word) => `'${word}'`).join(' ');
  const child = spawn('script', ['-qec', command, '/dev/null'], { cwd, stdio: ['pipe', 'pipe', 'inherit'], env: { ...process.env, NO_COLOR: '1' } });
  let screen = '';
  let seen = 0;
  const left = [...answers];
  child.stdout.on('data', (data: Buffer) => {
    screen += data.toString('utf8');
    const [next] = left;
    const at = next === undefined ? -1 : screen.indexOf(`${next[0]}: `, seen);
    if (next === undefined || at < 0) return;
    seen = at + next[0].length;
    left.shift();
    child.stdin.write(next[1]);
  });
  return new Promise((resolve, reject) => {
    child.once('error', reject);
    child.once('close', (status) => resolve({ status, screen }));
  });
}

describe('a passphrase at the terminal', () => {
  it('is asked for twice, never shown, mended by backspace, and opens the key', async () => {
    const cwd = await temporaryDirectory();
    const { status, screen } = await atTerminal(
      cwd,
      ['keys', 'new', 'release-viewer'],
      [
        ['passphrase for release-viewer.key', 'correct horsX\u007fe battery\r'],
        ['passphrase for release-viewer.key, again', 'correct horse battery\r'],
      ],
    );
    expect(screen).not.toMatch(/horse|battery|correct/);
    expect(status, screen).toBe(0);
    const file = join(cwd, 'release-viewer.key');
    const bytes = await readFile(file);
    await expect(decryptKey(file, bytes, Buffer.from('correct horse battery'))).resolves.toMatchObject({ keyId: expect.any(String) });
    await expect(decryptKey(file, bytes, Buffer.from('correct horsXe battery'))).rejects.toMatchObject({ code: 'KEY_UNUSABLE' });
  });

  it('makes no key when the two differ, or nothing is entered', async () => {
    const cwd = await temporaryDirectory();
    const differ = await atTerminal(
      cwd,
      ['keys', 'new', 'release-viewer'],
      [
        ['passphrase for release-viewer.key', 'one passphrase\r'],
        ['passphrase for release-viewer.key, again', 'another passphrase\r'],
      ],
    );
    expect(differ.status).toBe(2);
    expect(differ.screen).toContain('The two differ');
    const nothing = await atTerminal(cwd, ['keys', 'new', 'release-viewer'], [['passphrase for release-viewer.key', '\u0003']]);
    expect(nothing.status).toBe(2);
    await expect(readFile(join(cwd, 'release-viewer.key'))).rejects.toMatchObject({ code: 'ENOENT' });
  });
});
