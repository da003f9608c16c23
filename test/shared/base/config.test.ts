import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { z } from 'zod';
import { ConfigPath, loadConfig, resolveFrom } from '../../../shared/base/config.ts';
import { isWardcastError, type WardcastError } from '../../../shared/base/errors.ts';
import { editDistance, nearest } from '../../../shared/base/nearest.ts';
import { temporaryDirectory } from '../../support/temporary-directory.ts';

const Config = z.strictObject({
  data: z.string(),
  listen: z.strictObject({ host: z.string().default('127.0.0.1'), port: z.int().min(0).max(65535) }),
  log: z.strictObject({ level: z.enum(['debug', 'info']).default('info') }).prefault({}),
});

async function write(text: string | Buffer): Promise<string> {
  const file = join(await temporaryDirectory(), 'provider.toml');
  await writeFile(file, text);
  return file;
}

async function refusal(text: string | Buffer): Promise<WardcastError> {
  const file = await write(text);
  try {
    await loadConfig(file, Config);
  } catch (error) {
    if (isWardcastError(error, 'CONFIG_INVALID')) return error;
    throw error;
  }
  throw new Error('was accepted');
}

describe('loadConfig', () => {
  it('reads a file and fills in defaults', async () => {
    const file = await write('data = "d"\n[listen]\nport = 8883\n');
    expect(await loadConfig(file, Config)).toEqual({ data: 'd', listen: { host: '127.0.0.1', port: 8883 }, log: { level: 'info' } });
  });

  it('makes paths absolute, relative to the file', async () => {
    const file = await write('data = "d"\n[a]\npath = "/x"\n');
    const schema = z.strictObject({ data: ConfigPath, a: z.strictObject({ path: ConfigPath.optional() }) });
    expect(await loadConfig(file, schema)).toEqual({ data: resolveFrom(file, 'd'), a: { path: '/x' } });
  });

  it('refuses an unknown key with file, line and the nearest known key', async () => {
    const error = await refusal('data = "d"\n\n[listen]\nprot = 8883\nport = 1\n');
    expect(error.message).toMatch(/provider\.toml:4 has an unknown key "listen\.prot"/);
    expect(error.remedy).toBe('Did you mean "listen.port"?');
  });

  it('refuses an unknown table, and lists what is known when nothing is near', async () => {
    const error = await refusal('data = "d"\n[listen]\nport = 1\n[xyzzy]\na = 1\n');
    expect(error.message).toMatch(/provider\.toml:4 has an unknown key "xyzzy"/);
    expect(error.remedy).toBe('Known here: data, listen, log.');
  });

  it('names the line and key of a bad value', async () => {
    const error = await refusal('data = "d"\n[listen]\nhost = "h"\nport = "8883"\n');
    expect(error.message).toMatch(/provider\.toml:4 has a bad value for "listen\.port"/);
  });

  it('names a missing key', async () => {
    expect((await refusal('[listen]\nport = 1\n')).message).toMatch(/lacks "data"/);
    expect((await refusal('data = "d"\n[listen]\n')).remedy).toBe('Add port = … under [listen].');
  });

  it('names line and column of what is not TOML', async () => {
    expect((await refusal('data = "d"\nlisten = = 1\n')).message).toMatch(/provider\.toml:2:\d+ is not TOML/);
  });

  it('refuses files that are missing, a directory, too large or no text', async () => {
    await expect(loadConfig('/nowhere/at/all.toml', Config)).rejects.toSatisfy((error) => isWardcastError(error, 'CONFIG_INVALID'));
    await expect(loadConfig(await temporaryDirectory(), Config)).rejects.toSatisfy((error) => isWardcastError(error, 'CONFIG_INVALID'));
    expect((await refusal(Buffer.alloc(2 * 1024 * 1024, 35))).message).toMatch(/is the limit/);
    expect((await refusal(Buffer.from([0xff, 0xfe]))).message).toMatch(/UTF-8/);
  });
});

it('resolves paths from the file they stand in', () => {
  expect(resolveFrom('/etc/wardcast/gateway.toml', 'data')).toBe('/etc/wardcast/data');
  expect(resolveFrom('/etc/wardcast/gateway.toml', '/var/lib')).toBe('/var/lib');
});

describe('nearest', () => {
  it('counts insertions, deletions, changes and swaps', () => {
    expect(editDistance('kitten', 'sitting')).toBe(3);
    expect(editDistance('prot', 'port')).toBe(1);
    expect(editDistance('', 'abc')).toBe(3);
  });
  it('names the likely one, or nobody', () => {
    expect(nearest('publsh', ['publish', 'list'])).toBe('publish');
    expect(nearest('zzz', ['publish', 'list'])).toBeUndefined();
  });
});
