import { describe, expect, it, onTestFinished } from 'vitest';
import { z } from 'zod';
import { isWardcastError } from '../../../shared/base/errors.ts';
import { openState, type State } from '../../../shared/store/state.ts';
import { Table } from '../../../shared/store/table.ts';
import { temporaryDirectory } from '../../support/temporary-directory.ts';

async function state(directory?: string): Promise<State> {
  const db = await openState(directory ?? (await temporaryDirectory()));
  onTestFinished(() => db.close());
  return db;
}

describe('the state', () => {
  it('keeps values over a restart', async () => {
    const directory = await temporaryDirectory();
    const db = await state(directory);
    const table = new Table(db, 'rows', z.unknown());
    await table.put('a', { n: 1 });
    await table.put('b', 2);
    await table.delete('b');
    await db.close();
    const again = await state(directory);
    const kept = new Table(again, 'rows', z.unknown());
    expect(await kept.get('a')).toEqual({ n: 1 });
    expect(await kept.get('b')).toBeUndefined();
  });

  it('belongs to one process and says so to a second', async () => {
    const directory = await temporaryDirectory();
    await state(directory);
    await expect(openState(directory)).rejects.toSatisfy((error) => isWardcastError(error, 'STORAGE_FAILED') && /Another process/.test(error.remedy ?? ''));
  });
});

describe('a table', () => {
  const Row = z.strictObject({ n: z.int() });

  it('puts, gets, deletes and lists by prefix in order', async () => {
    const table = new Table(await state(), 'rows', Row);
    await Promise.all(['a/2', 'b/1', 'a/1'].map((key, n) => table.put(key, { n })));
    await table.delete('b/1');
    const rows: (readonly [string, { n: number }])[] = [];
    for await (const row of table.entries({ prefix: 'a/' })) rows.push(row);
    expect(rows).toEqual([
      ['a/1', { n: 2 }],
      ['a/2', { n: 0 }],
    ]);
    expect(await table.get('b/1')).toBeUndefined();
  });

  it('refuses what does not belong there', async () => {
    const db = await state();
    await new Table(db, 'rows', z.string()).put('a', 'text');
    await expect(new Table(db, 'rows', Row).get('a')).rejects.toSatisfy((error) => isWardcastError(error, 'STORAGE_FAILED'));
  });
});
