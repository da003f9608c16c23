import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Level } from 'level';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { chain, checkLink, EMPTY } from '../../../provider/record/log.ts';
import { checkRegistry, openLevelRegistry, rebuildRegistry, registryDirectory } from '../../../provider/registry/level-registry.ts';
import { keys } from '../../../provider/registry/rows.ts';
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

  describe('whose end is damaged is not opened, and says what to do', () => {
    const last = FOUNDED.length;
    const half = async (db: Level<string, string>, at: string): Promise<void> => db.put(at, (await db.get(at)).slice(0, -40));
    test.each<[string, (db: Level<string, string>) => Promise<void>, RegExp]>([
      ['half of the last entry', (db) => half(db, key(last)), /entry 6 cannot be read/],
      ['no JSON object', (db) => db.put(key(last), 'null'), /entry 6 is none/],
      ['no last entry', (db) => db.del(key(last)), /entry 6 is missing/],
      ['half of an earlier entry', (db) => half(db, key(2)), /entry 2 cannot be read/],
      [
        'another device in the last entry',
        async (db) => db.put(key(last), (await db.get(key(last))).replace('ct-1', 'ct-9')),
        /entry 6 does not have the hash/,
      ],
      ['an entry behind the end', async (db) => db.put(key(last + 1), await db.get(key(last))), /entry 7 stands behind the end/],
      ['half of the head', (db) => half(db, 'r!head'), /names its end cannot be read/],
      ['a head that names nothing', (db) => db.put('r!head', '{}'), /names none/],
      ['no head', (db) => db.del('r!head'), /entry 1 stands behind the end/],
      ['another hash in the head', async (db) => db.put('r!head', JSON.stringify({ sequence: last, hash: 'a'.repeat(64) })), /entry 6 is not the one/],
    ])('%s', async (_what, change, message) => {
      const found = await tamper(change);
      const opened = openLevelRegistry(directory, { clock: systemClock, log: silentLog });
      await expect(opened).rejects.toMatchObject({
        code: 'LOG_BROKEN',
        message: expect.stringMatching(message),
        remedy: expect.stringContaining('Cut nothing off'),
      });
      expect(found.join('\n')).toContain('LOG_BROKEN');
      // Nor is it rebuilt: who opened it first let go of it, and nothing was changed.
      await expect(rebuildRegistry(directory)).rejects.toMatchObject({ code: 'LOG_BROKEN' });
      expect((await checkRegistry(directory)).differences).toEqual(found);
    });
  });

  test('gives altered, damaged, added and missing rows back, and goes on', async () => {
    const good = await checkRegistry(directory);
    const found = await tamper(async (db) => {
      await db.put('r!customer/acme', '{"customer":"acme","name":"Other"}');
      await db.put('r!group/acme/ct', '{"customer":"ac');
      await db.put('r!customer/ghost', '{"customer":"ghost"}');
      await db.del('r!site/acme/south');
    });
    expect(found).toHaveLength(4);
    expect(await checkRegistry(directory)).toMatchObject({ intact: true });
    expect(await rebuildRegistry(directory)).toEqual({ entries: good.entries, head: good.head, rows: good.rows, mended: 4 });
    expect(await checkRegistry(directory)).toEqual(good);
    const registry = await openLevelRegistry(directory, { clock: systemClock, log: silentLog });
    await append(registry, { type: 'customer-added', customer: 'zeta' });
    expect(await registry.check()).toMatchObject({ entries: good.entries + 1, differences: [] });
    await registry.close();
  });

  test('written by a version that kept no epochs yet: differs, and is equal once it is rebuilt', async () => {
    const registry = await openLevelRegistry(directory, { clock: systemClock, log: silentLog });
    await append(registry, { type: 'device-removed', customer: 'acme', device: 'ct-1' });
    await registry.close();
    expect(await tamper((db) => db.del('r!epoch/acme/north/ct'))).toEqual(['epoch/acme/north/ct is missing in the registry']);
    expect(await rebuildRegistry(directory)).toMatchObject({ mended: 1 });
    expect(await checkRegistry(directory)).toMatchObject({ differences: [] });
  });

  test('of which a row is damaged says so when it is read, and what to do', async () => {
    await tamper((db) => db.put('r!customer/acme', '{"customer":"ac'));
    const registry = await openLevelRegistry(directory, { clock: systemClock, log: silentLog });
    await expect(registry.get(keys.customer('acme'))).rejects.toMatchObject({ code: 'STORAGE_FAILED', remedy: expect.stringContaining('registry rebuild') });
    await registry.close();
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
