import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Level } from 'level';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { chain, checkLink, EMPTY } from '../../../provider/record/log.ts';
import { checkRegistry, openLevelRegistry, registryDirectory } from '../../../provider/registry/level-registry.ts';
import { systemClock } from '../../../shared/base/clock.ts';
import { silentLog } from '../../../shared/base/log.ts';
import { append, FOUNDED } from '../../contract/registry.contract.ts';

let directory = '';
beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'wardcast-log-'));
  const registry = await openLevelRegistry(directory, { clock: systemClock, log: silentLog });
  await append(registry, ...FOUNDED);
  await registry.close();
});
afterEach(() => rm(directory, { recursive: true }));

async function tamper(change: (db: Level<string, string>) => Promise<void>): Promise<readonly string[]> {
  const db = new Level<string, string>(registryDirectory(directory), { valueEncoding: 'utf8' });
  await change(db);
  await db.close();
  return (await checkRegistry(directory)).differences;
}
const key = (sequence: number): string => `l!${String(sequence).padStart(16, '0')}`;

describe('the log', () => {
  test('verifies when nobody touched it', async () => {
    expect(await checkRegistry(directory)).toMatchObject({ entries: FOUNDED.length, differences: [] });
  });

  test('shows an altered entry, and what followed from it', async () => {
    const found = await tamper(async (db) => db.put(key(2), (await db.get(key(2))).replace('north', 'notth')));
    expect(found[0]).toMatch(/^LOG_BROKEN: .*entry 2/);
    expect(found.join('\n')).toContain('site/acme/north is in the registry, but nothing in the log leads to it');
  });

  test('shows an entry whose author was altered', async () => {
    const found = await tamper(async (db) => db.put(key(3), (await db.get(key(3))).replace('ops/test', 'ops/best')));
    expect(found[0]).toMatch(/LOG_BROKEN/);
  });

  test('shows an entry taken out, and entries swapped', async () => {
    expect((await tamper((db) => db.del(key(3))))[0]).toMatch(/LOG_BROKEN: .*entry 3 is missing/);
  });

  test('shows that its end was cut off', async () => {
    expect((await tamper((db) => db.del(key(FOUNDED.length)))).some((sentence) => sentence.startsWith('head differs'))).toBe(true);
  });

  test('shows altered, added and missing rows', async () => {
    const found = await tamper(async (db) => {
      await db.put('r!customer/acme', '{"customer":"acme","name":"Other"}');
      await db.put('r!customer/ghost', '{"customer":"ghost"}');
      await db.del('r!site/acme/south');
    });
    expect(found).toHaveLength(3);
    expect(found[0]).toContain('customer/acme differs');
    expect(found[1]).toContain('customer/ghost is in the registry');
    expect(found[2]).toContain('site/acme/south is missing');
  });

  test('refuses a directory that is no registry, without making one', async () => {
    await expect(checkRegistry(join(directory, 'none'))).rejects.toMatchObject({ code: 'NOT_FOUND' });
  });

  test('refuses to check what a running provider uses', async () => {
    const registry = await openLevelRegistry(directory, { clock: systemClock, log: silentLog });
    await expect(checkRegistry(directory)).rejects.toMatchObject({ code: 'STORAGE_FAILED' });
    await registry.close();
  });

  test('each entry proves all before it', () => {
    const change = { type: 'customer-added', customer: 'a' } as const;
    const first = chain(EMPTY, { at: 'x', actor: 'y', change });
    const second = chain(first, { at: 'x', actor: 'y', change });
    expect(() => checkLink(first, second)).not.toThrow();
    const other = chain(EMPTY, { at: 'x', actor: 'z', change });
    expect(() => checkLink(other, second)).toThrow(expect.objectContaining({ code: 'LOG_BROKEN' }));
  });
});
