import { mkdir, readdir, readFile, readlink, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { isWardcastError } from '../../../shared/base/errors.ts';
import { makeDirectory, removeLeftovers, replaceSymlink, writeDurably } from '../../../shared/store/durable-file.ts';
import { SharedSync } from '../../../shared/store/shared-sync.ts';
import { temporaryDirectory } from '../../support/temporary-directory.ts';

describe('writeDurably', () => {
  it('replaces the content and leaves nothing else behind', async () => {
    const directory = await temporaryDirectory();
    const file = join(directory, 'a');
    await writeDurably(file, 'one');
    await writeDurably(file, Buffer.from('two'));
    expect(await readFile(file, 'utf8')).toBe('two');
    expect(await readdir(directory)).toEqual(['a']);
  });

  it('sets the mode', async () => {
    const file = join(await temporaryDirectory(), 'secret');
    await writeDurably(file, 'x', 0o600);
    expect((await stat(file)).mode & 0o777).toBe(0o600);
  });

  it('cleans up when it cannot finish', async () => {
    const directory = await temporaryDirectory();
    await mkdir(join(directory, 'taken', 'full'), { recursive: true });
    await expect(writeDurably(join(directory, 'taken'), 'x')).rejects.toSatisfy((error) => isWardcastError(error, 'STORAGE_FAILED'));
    expect(await readdir(directory)).toEqual(['taken']);
  });
});

it('swaps a symlink in one step', async () => {
  const directory = await temporaryDirectory();
  const link = join(directory, 'current');
  await replaceSymlink(link, 'v1');
  await replaceSymlink(link, 'v2');
  expect(await readlink(link)).toBe('v2');
  expect(await readdir(directory)).toEqual(['current']);
});

it('makes nested directories, also when they are there already', async () => {
  const directory = join(await temporaryDirectory(), 'a', 'b', 'c');
  await makeDirectory(directory);
  await makeDirectory(directory);
  expect((await stat(directory)).isDirectory()).toBe(true);
});

it('removes leftovers only', async () => {
  const directory = await temporaryDirectory();
  await writeFile(join(directory, 'a.tmp'), '');
  await writeFile(join(directory, 'a'), '');
  expect(await removeLeftovers(directory)).toBe(1);
  expect(await readdir(directory)).toEqual(['a']);
  expect(await removeLeftovers(join(directory, 'nowhere'))).toBe(0);
});

describe('SharedSync', () => {
  it('never shares a sync that began before the caller came', async () => {
    const gates: PromiseWithResolvers<void>[] = [];
    const syncs = new SharedSync(() => {
      const gate = Promise.withResolvers<void>();
      gates.push(gate);
      return gate.promise;
    });
    const done: string[] = [];
    const first = syncs.wait('d').then(() => done.push('first'));
    const later = [1, 2, 3].map((n) => syncs.wait('d').then(() => done.push(`later ${n}`)));
    expect(gates.length).toBe(1);
    gates[0]?.resolve();
    await first;
    expect(done).toEqual(['first']);
    await new Promise(setImmediate);
    expect(gates.length).toBe(2);
    gates[1]?.resolve();
    await Promise.all(later);
    expect(done.length).toBe(4);
    const again = syncs.wait('d');
    expect(gates.length).toBe(3);
    gates[2]?.resolve();
    await again;
  });

  it('gives a failure to those who waited for it and goes on', async () => {
    let fail = true;
    const syncs = new SharedSync(() => (fail ? Promise.reject(new Error('EIO')) : Promise.resolve()));
    const first = syncs.wait('d');
    const second = syncs.wait('d');
    fail = false;
    await expect(first).rejects.toThrow('EIO');
    await second;
  });
});
