import { closeSync, openSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { WardcastError } from '../../../shared/base/errors.ts';
import { MAX_LOGGED_MESSAGE } from '../../../shared/base/limits.ts';
import { createLog } from '../../../shared/base/log.ts';
import { temporaryDirectory } from '../../support/temporary-directory.ts';

async function logged(say: (log: ReturnType<typeof createLog>) => void): Promise<string> {
  const file = join(await temporaryDirectory(), 'log');
  const fd = openSync(file, 'w');
  try {
    say(createLog({ component: 'test', fd }));
  } finally {
    closeSync(fd);
  }
  return readFile(file, 'utf8');
}

describe('a line of the log', () => {
  it('names an error, its code and its causes, and not their stacks', async () => {
    const error = new WardcastError('PROTOCOL_VIOLATION', 'A message is malformed', { cause: new Error('no JSON') });
    const line: unknown = JSON.parse(await logged((log) => log.warn('said', { device: 'ct-1', error })));
    expect(line).toMatchObject({ component: 'test', event: 'said', device: 'ct-1' });
    expect(Reflect.get(Object(line), 'error')).toEqual({ code: 'PROTOCOL_VIOLATION', message: 'A message is malformed', cause: { message: 'no JSON' } });
  });

  it('stays short whatever a stranger’s message has wrong in it', async () => {
    const flood = 'expected string, received number\n'.repeat(50_000);
    const text = await logged((log) => log.warn('said', { error: new WardcastError('PROTOCOL_VIOLATION', 'malformed', { cause: new Error(flood) }) }));
    expect(text.length).toBeLessThan(2 * MAX_LOGGED_MESSAGE);
    expect(text).toContain(`(${flood.length} characters)`);
  });
});
