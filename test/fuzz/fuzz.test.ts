import { execFile } from 'node:child_process';
import { join } from 'node:path';
import { promisify } from 'node:util';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { WardcastError } from '../../shared/base/errors.ts';
import { law, lawfully } from './law.ts';
import { MemoryWatch, ServiceWatch } from './watch.ts';

const run = promisify(execFile);
const MIB = 1024 * 1024;

describe('the fuzzer', () => {
  it('shrinks what a reader stumbles over, and repeats it from the seed and path that it prints', async () => {
    const broken = law('broken', fc.array(fc.nat(255)), (bytes) =>
      lawfully(() => {
        if (bytes.some((byte) => byte > 200)) throw new TypeError('undefined is not a function');
      }),
    );
    const { failure = '' } = await broken.check({ seed: 7, runs: 500 });
    expect(failure).toContain('[[201]]');
    const [, seed = '', path = ''] = /--replay (\d+):(\S+)/.exec(failure) ?? [];
    const again = await broken.check({ seed: Number(seed), path, runs: 500 });
    expect(again.failure).toContain('[[201]]');
  });

  it('takes refusals with a code for an answer, and INTERNAL for a defect', async () => {
    await lawfully(() => {
      throw new WardcastError('MANIFEST_INVALID', 'no manifest');
    });
    const internal = lawfully(() => {
      throw new WardcastError('INTERNAL', 'a bug');
    });
    await expect(internal).rejects.toThrow('foreign input is called a bug of ours');
  });

  it('notices a door that grows, and one that lets good clients wait', () => {
    const memory = new MemoryWatch();
    memory.sample(500 * MIB, false);
    memory.sample(100 * MIB, true);
    memory.sample(163 * MIB, true);
    expect(memory.wrong).toBeUndefined();
    memory.sample(165 * MIB, true);
    expect(memory.wrong).toContain('grew by 65 MiB');
    const service = new ServiceWatch();
    expect(service.wrong).toBe('no good client was served at all');
    service.add({ connected: 1500, served: 1600 }, 600);
    expect(service.wrong).toBeUndefined();
    service.add({ connected: 1500, served: 1600 }, 10);
    expect(service.wrong).toContain('1500 ms (10 ms of it held up by the machine)');
  });

  it('finds nothing in a few seconds, and says so in its last line', async () => {
    const { stdout } = await run(process.execPath, [
      join(import.meta.dirname, 'main.ts'),
      '--only',
      'parsers',
      '--only',
      'broker',
      '--seconds',
      '3',
      '--seed',
      '1',
    ]);
    expect(stdout.trimEnd().split('\n').at(-1)).toMatch(/^[1-9]\d* passed, 0 failed$/);
  });
});
