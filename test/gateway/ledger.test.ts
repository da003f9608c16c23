import { join } from 'node:path';
import { expect, it } from 'vitest';
import { Ledger, LedgerRecord } from '../../gateway/ledger.ts';
import { openState, type State } from '../../shared/store/state.ts';
import { Table } from '../../shared/store/table.ts';
import { temporaryDirectory } from '../support/temporary-directory.ts';

async function opened(): Promise<{ state: State; table: Table<LedgerRecord> }> {
  const state = await openState(join(await temporaryDirectory(), 'state'));
  return { state, table: new Table(state, 'ledger', LedgerRecord) };
}

it('counts what was stored each once, through deletions and restarts', async () => {
  const { state, table } = await opened();
  let held = 0;
  const first = await Ledger.open(table, () => held);
  first.follow(() => 150);
  held = 100;
  expect(first.unique).toBe(100);
  await first.deleting(async (gone) => {
    held -= 60;
    gone(60);
    // Something else arrives meanwhile.
    held += 20;
  });
  expect(first.unique).toBe(120);
  const second = await Ledger.open(table, () => held);
  second.follow(() => 7);
  expect(second.unique).toBe(120);
  expect(second.received).toBe(157);
  held += 5;
  expect(second.unique).toBe(125);
  await state.close();
});

it('is right after a kill in the middle of a deletion', async () => {
  const { state, table } = await opened();
  let held = 100;
  const first = await Ledger.open(table, () => held);
  // Dies after deleting, before it can say so.
  await expect(
    Promise.race([
      first.deleting(async () => {
        held -= 60;
        await new Promise(() => undefined);
      }),
      (async () => {
        while (held === 100) await new Promise((resolve) => setImmediate(resolve));
      })(),
    ]),
  ).resolves.toBeUndefined();
  const second = await Ledger.open(table, () => held);
  expect(second.unique).toBe(100);
  held += 60;
  expect(second.unique).toBe(160);
  await state.close();
});

it('does not count a chunk again that rotted and was pulled a second time', async () => {
  const { state, table } = await opened();
  let held = 100;
  const ledger = await Ledger.open(table, () => held);
  expect(ledger.unique).toBe(100);
  held -= 10;
  expect(ledger.unique).toBe(100);
  held += 10;
  expect(ledger.unique).toBe(100);
  await state.close();
});
