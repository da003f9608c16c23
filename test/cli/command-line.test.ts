import { spawnSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';
import { exitStatus } from '../../cli/exit-status.ts';
import { ERROR_CODES } from '../../shared/base/errors.ts';

const program = fileURLToPath(new URL('../../cli/wardcast.mjs', import.meta.url));

function wardcast(...args: string[]): { status: number | null; stdout: string; stderr: string } {
  const { WARDCAST_PROVIDER: _provider, WARDCAST_CREDENTIALS: _credentials, ...rest } = process.env;
  const env = { ...rest, NO_COLOR: '1', XDG_CONFIG_HOME: '/nonexistent' };
  return spawnSync(process.execPath, [program, ...args], { encoding: 'utf8', env });
}

describe('the command line', () => {
  it('shows all commands and the exit statuses', () => {
    const { status, stdout } = wardcast('--help');
    expect(status).toBe(0);
    for (const word of ['demo', 'pki', 'release', 'doctor', 'Exit status']) expect(stdout).toContain(word);
  });

  it.each([
    [['stauts'], 'status'],
    [['device', 'lst'], 'list'],
    [['device', 'list', '--custmer', 'x'], '--customer'],
  ])('names the nearest word for %j', (args, nearest) => {
    const { status, stderr, stdout } = wardcast(...args);
    expect(status).toBe(2);
    expect(stdout).toBe('');
    expect(stderr).toContain(nearest);
  });

  it('writes an error as one JSON document on standard output and nothing else', () => {
    const { status, stdout, stderr } = wardcast('status', '--json');
    expect(status).toBe(2);
    expect(stderr).toBe('');
    expect(JSON.parse(stdout)).toMatchObject({ error: { code: 'USAGE', message: expect.any(String), remedy: expect.stringContaining('--provider') } });
  });

  it('writes even a slip on the command line as JSON when asked to', () => {
    expect(JSON.parse(wardcast('stauts', '--json').stdout)).toMatchObject({ error: { code: 'USAGE', remedy: expect.stringContaining('status') } });
    expect(JSON.parse(wardcast('device', '--json').stdout)).toMatchObject({ error: { code: 'USAGE' } });
  });

  it('refuses what is no id and suggests one', () => {
    const { status, stderr } = wardcast('customer', 'add', 'St. Mary');
    expect(status).toBe(2);
    expect(stderr).toContain('st-mary');
  });

  it('says why a provider cannot be reached, with status 4 or 3, never with a stack', () => {
    const { status, stdout } = wardcast('status', '--json', '--provider', '127.0.0.1:1', '--credentials', '/nonexistent');
    expect(status).toBeGreaterThan(0);
    expect(JSON.parse(stdout).error.message).not.toContain('    at ');
  });
});

describe('exit statuses', () => {
  it('are between 1 and 5 for every error, 130 for an interruption', () => {
    for (const code of Object.keys(ERROR_CODES)) {
      const known = Object.keys(ERROR_CODES).find((name): name is keyof typeof ERROR_CODES => name === code);
      if (known === undefined) throw new Error('unreachable');
      const status = exitStatus(known);
      expect(known === 'ABORTED' ? status === 130 : status >= 1 && status <= 5, known).toBe(true);
    }
  });
});
