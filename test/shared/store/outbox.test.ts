import fc from 'fast-check';
import { describe, expect, it, onTestFinished } from 'vitest';
import { isWardcastError } from '../../../shared/base/errors.ts';
import { Outbox } from '../../../shared/store/outbox.ts';
import { openState, type State } from '../../../shared/store/state.ts';
import { temporaryDirectory } from '../../support/temporary-directory.ts';

async function state(directory?: string): Promise<State> {
  const db = await openState(directory ?? (await temporaryDirectory()));
  onTestFinished(() => db.close());
  return db;
}
const keys = async (outbox: Outbox): Promise<string[]> => (await outbox.list(1000)).map((entry) => entry.key);

describe('Outbox', () => {
  it('gives back what was put, oldest first, also after a restart', async () => {
    const directory = await temporaryDirectory();
    const db = await state(directory);
    const outbox = await Outbox.open(db);
    for (const key of ['z', 'a', 'm']) await outbox.put(key, Buffer.from(`value ${key}`));
    await db.close();
    const again = await Outbox.open(await state(directory));
    expect((await again.list(10)).map(({ key, value }) => [key, value.toString()])).toEqual([
      ['z', 'value z'],
      ['a', 'value a'],
      ['m', 'value m'],
    ]);
    await again.put('b', Buffer.from(''));
    expect(await keys(again)).toEqual(['z', 'a', 'm', 'b']);
  });

  it('keeps the place and the content of a key that is put twice', async () => {
    const outbox = await Outbox.open(await state());
    await Promise.all([outbox.put('a', Buffer.from('1')), outbox.put('a', Buffer.from('2')), outbox.put('b', Buffer.from('3'))]);
    expect(outbox.size).toBe(2);
    expect((await outbox.list(10)).map(({ value }) => value.toString())).toEqual(['1', '3']);
  });

  it('refuses with BUSY when full and has room again after a receipt', async () => {
    const outbox = await Outbox.open(await state(), { capacity: 2 });
    await outbox.put('a', Buffer.from('1'));
    await outbox.put('b', Buffer.from('1'));
    await expect(outbox.put('c', Buffer.from('1'))).rejects.toSatisfy((error) => isWardcastError(error, 'BUSY'));
    await outbox.delete('a');
    await outbox.put('c', Buffer.from('1'));
    expect(await keys(outbox)).toEqual(['b', 'c']);
  });

  it('gives everybody a share: who has filled it is refused with BUSY, also after a restart, and the others are not', async () => {
    const directory = await temporaryDirectory();
    const db = await state(directory);
    const share = { of: (key: string) => key.slice(0, 1), capacity: 2 };
    const outbox = await Outbox.open(db, { share });
    for (const key of ['a1', 'a2']) await outbox.put(key, Buffer.from('1'));
    await expect(outbox.put('a3', Buffer.from('1'))).rejects.toSatisfy((error) => isWardcastError(error, 'BUSY'));
    await outbox.put('a2', Buffer.from('said again'));
    await outbox.put('b1', Buffer.from('1'));
    await db.close();
    const again = await Outbox.open(await state(directory), { share });
    await expect(again.put('a3', Buffer.from('1'))).rejects.toSatisfy((error) => isWardcastError(error, 'BUSY'));
    await Promise.all([again.delete('a1'), again.delete('a1')]);
    await again.put('a3', Buffer.from('1'));
    await expect(again.put('a4', Buffer.from('1'))).rejects.toSatisfy((error) => isWardcastError(error, 'BUSY'));
    expect(await keys(again)).toEqual(['a2', 'b1', 'a3']);
  });

  it('replaces in its place, durably, and never brings back what is gone', async () => {
    const directory = await temporaryDirectory();
    const db = await state(directory);
    const outbox = await Outbox.open(db);
    for (const key of ['a', 'b', 'c']) await outbox.put(key, Buffer.from('old'));
    await outbox.replace('b', Buffer.from('new'));
    await Promise.all([outbox.delete('c'), outbox.replace('c', Buffer.from('new'))]);
    await outbox.replace('d', Buffer.from('new'));
    expect((await outbox.get('b'))?.toString()).toBe('new');
    expect(await outbox.get('c')).toBeUndefined();
    await db.close();
    const again = await Outbox.open(await state(directory));
    expect((await again.list(10)).map(({ key, value }) => [key, value.toString()])).toEqual([
      ['a', 'old'],
      ['b', 'new'],
    ]);
  });

  it('lists in pages', async () => {
    const outbox = await Outbox.open(await state());
    await Promise.all(Array.from({ length: 25 }, (_, n) => outbox.put(`k${n}`, Buffer.from('x'))));
    const first = await outbox.list(10);
    const second = await outbox.list(10, { after: first.at(-1)?.key ?? '' });
    expect([...first, ...second].map(({ key }) => key)).toEqual(Array.from({ length: 20 }, (_, n) => `k${n}`));
  });

  it('holds several boxes apart in one database', async () => {
    const db = await state();
    const one = await Outbox.open(db, { name: 'one' });
    const two = await Outbox.open(db, { name: 'two' });
    await one.put('a', Buffer.from('1'));
    expect(two.size).toBe(0);
    expect(await keys(two)).toEqual([]);
  });

  it('law: after any puts and deletes the order is that of the first put that still counts', async () => {
    const db = await state();
    let run = 0;
    const step = fc.record({ type: fc.constantFrom('put', 'delete'), key: fc.constantFrom('a', 'b', 'c', 'd', 'e') });
    await fc.assert(
      fc.asyncProperty(fc.array(step, { maxLength: 30 }), fc.boolean(), async (steps, atOnce) => {
        const name = `run${run++}`;
        const outbox = await Outbox.open(db, { name });
        let model: string[] = [];
        for (const { type, key } of steps) {
          if (type === 'delete') {
            await outbox.delete(key);
            model = model.filter((other) => other !== key);
          } else {
            const put = outbox.put(key, Buffer.from(key));
            if (!atOnce) await put;
            if (!model.includes(key)) model.push(key);
          }
        }
        await Promise.all(model.map((key) => outbox.put(key, Buffer.from(key))));
        expect(await keys(outbox)).toEqual(model);
        expect(await keys(await Outbox.open(db, { name }))).toEqual(model);
      }),
      { numRuns: 40 },
    );
  });
});
