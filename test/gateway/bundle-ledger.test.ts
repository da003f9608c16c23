import { join } from 'node:path';
import fc from 'fast-check';
import { expect, it, onTestFinished } from 'vitest';
import { BundleLedger, BundleLedgerRecord } from '../../gateway/bundle-ledger.ts';
import { sha256 } from '../../shared/bundle/digest.ts';
import { MemoryChunkStore } from '../../shared/store/memory-chunk-store.ts';
import { openState, type State } from '../../shared/store/state.ts';
import { Table } from '../../shared/store/table.ts';
import { temporaryDirectory } from '../support/temporary-directory.ts';

async function opened(): Promise<{ state: State; table: Table<BundleLedgerRecord>; store: MemoryChunkStore }> {
  const state = await openState(join(await temporaryDirectory(), 'state'));
  onTestFinished(() => state.close());
  return { state, table: new Table(state, 'bundle-ledger', BundleLedgerRecord), store: new MemoryChunkStore() };
}

function chunk(text: string): { hash: string; bytes: Buffer; size: number } {
  const bytes = Buffer.from(text);
  return { hash: sha256(bytes), bytes, size: bytes.length };
}

async function carry(ledger: BundleLedger, store: MemoryChunkStore, group: string, text: string): Promise<void> {
  const { hash, bytes, size } = chunk(text);
  await ledger.counting(store).put(hash, await ledger.pull({ group, hash, size }, async () => bytes));
}

it('counts what the line brought for the bundle that it was pulled for, and what left for devices', async () => {
  const { table, store } = await opened();
  const ledger = await BundleLedger.open(table, store);
  ledger.gathers('ct', 7);
  ledger.gathers('pump', 2);
  await carry(ledger, store, 'ct', 'one');
  await carry(ledger, store, 'pump', 'three');
  ledger.gathers('ct', 8);
  await carry(ledger, store, 'ct', 'eleven');
  ledger.sent('ct', 8, 12);
  await ledger.save();
  const told = { gateway: 12, bundles: [8, 7, 2].map((sequence) => expect.objectContaining({ sequence })) };
  expect(ledger.told()).toEqual(told);
  expect(ledger.told().bundles[0]).toEqual({ group: 'ct', sequence: 8, line: 6, gateway: 12 });
  expect((await BundleLedger.open(table, store)).told()).toEqual(ledger.told());
  expect(ledger.total).toEqual({ line: 14, gateway: 12 });
});

it('counts no chunk that did not come, and one that is asked for again once', async () => {
  const { table, store } = await opened();
  const ledger = await BundleLedger.open(table, store);
  ledger.gathers('ct', 1);
  const { hash, size } = chunk('lost');
  await expect(ledger.pull({ group: 'ct', hash, size }, () => Promise.reject(new Error('the line broke')))).rejects.toThrow('broke');
  await ledger.save();
  expect(ledger.total.line).toBe(0);
  await carry(ledger, store, 'ct', 'lost');
  await ledger.save();
  expect(ledger.total.line).toBe(4);
  expect((await BundleLedger.open(table, store)).total.line).toBe(4);
});

it('is exact after a kill at any moment: every chunk on the disk is counted for its bundle, and nothing else', async () => {
  const step = fc.oneof(
    { weight: 6, arbitrary: fc.record({ kind: fc.constant('carry' as const), group: fc.constantFrom('ct', 'pump'), text: fc.integer({ min: 1, max: 40 }) }) },
    fc.constant({ kind: 'killed-before-it-lands' as const }),
    fc.constant({ kind: 'killed-after-it-landed' as const }),
    fc.constant({ kind: 'save' as const }),
    fc.constant({ kind: 'kill' as const }),
  );
  const directory = await temporaryDirectory();
  let run = 0;
  await fc.assert(
    fc.asyncProperty(fc.array(step, { maxLength: 25 }), async (steps) => {
      const state = await openState(join(directory, String(run++)));
      const table = new Table(state, 'bundle-ledger', BundleLedgerRecord);
      const store = new MemoryChunkStore();
      const expected = new Map<string, number>();
      let ledger = await BundleLedger.open(table, store);
      const gather = (): void => {
        ledger.gathers('ct', 3);
        ledger.gathers('pump', 5);
      };
      const expects = (group: string, size: number): unknown => expected.set(group, (expected.get(group) ?? 0) + size);
      gather();
      let fresh = 1000;
      for (const each of steps) {
        if (each.kind === 'carry') {
          const text = 'x'.repeat(each.text);
          if (await store.has(chunk(text).hash)) continue;
          await carry(ledger, store, each.group, text);
          expects(each.group, each.text);
        } else if (each.kind === 'save') await ledger.save();
        else {
          const { hash, bytes, size } = chunk(`y${fresh++}`);
          if (each.kind !== 'kill') await ledger.pull({ group: 'ct', hash, size }, async () => bytes);
          if (each.kind === 'killed-after-it-landed') {
            await store.put(hash, bytes);
            expects('ct', size);
          }
          // What was in memory is gone.
          ledger = await BundleLedger.open(table, store);
          gather();
        }
      }
      const line = new Map(
        (await BundleLedger.open(table, store))
          .told()
          .bundles.map((row) => [row.group, row.line] as const)
          .filter(([, bytes]) => bytes > 0),
      );
      expect(line).toEqual(expected);
      let held = 0;
      for await (const { size } of store.list()) held += size;
      expect(ledger.total.line).toBe(held);
      await state.close();
    }),
    { numRuns: 40 },
  );
});

it('keeps the newest bundles of a group and the total of all', async () => {
  const { table, store } = await opened();
  const ledger = await BundleLedger.open(table, store);
  for (let sequence = 1; sequence <= 20; sequence++) ledger.sent('ct', sequence, 10);
  await ledger.save();
  const again = await BundleLedger.open(table, store);
  expect(again.total.gateway).toBe(200);
  expect(again.told().bundles.map((row) => row.sequence)).toEqual([20, 19, 18, 17]);
});
