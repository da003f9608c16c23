import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, expect, test } from 'vitest';
import { openLevelRegistry } from '../../../provider/registry/level-registry.ts';
import { LogRegistry } from '../../../provider/registry/log-registry.ts';
import { MemoryTable } from '../../../provider/registry/memory-table.ts';
import type { Registry } from '../../../provider/registry/registry.ts';
import { systemClock } from '../../../shared/base/clock.ts';
import { silentLog } from '../../../shared/base/log.ts';
import { append, FOUNDED, registryContract } from '../../contract/registry.contract.ts';

const parts = { clock: systemClock, log: silentLog };
const directories = new Map<Registry, string>();
afterAll(async () => {
  for (const directory of directories.values()) await rm(directory, { recursive: true, force: true });
});

async function level(directory: string): Promise<Registry> {
  const registry = await openLevelRegistry(directory, parts);
  directories.set(registry, directory);
  return registry;
}

registryContract(
  'a registry on level',
  async () => level(await mkdtemp(join(tmpdir(), 'wardcast-registry-'))),
  (closed) => level(directories.get(closed) ?? ''),
);
registryContract('a registry in memory', async () => new LogRegistry(new MemoryTable(), parts));

test('a disk that refuses stops the registry: nothing is chained onto what may not be there', async () => {
  class FailingTable extends MemoryTable {
    failing = false;
    override async commit(writes: ReadonlyMap<string, Buffer | undefined>): Promise<void> {
      if (this.failing) throw new Error('no space left');
      return super.commit(writes);
    }
  }
  const table = new FailingTable();
  const registry = new LogRegistry(table, parts);
  let told: Error | undefined;
  registry.onFailure((error) => {
    told = error;
  });
  await append(registry, ...FOUNDED.slice(0, 1));
  table.failing = true;
  await expect(append(registry, { type: 'customer-added', customer: 'b' })).rejects.toMatchObject({ code: 'STORAGE_FAILED' });
  table.failing = false;
  await expect(append(registry, { type: 'customer-added', customer: 'c' })).rejects.toMatchObject({ code: 'STORAGE_FAILED' });
  expect(told).toMatchObject({ code: 'STORAGE_FAILED' });
  expect(await new LogRegistry(table, parts).check()).toMatchObject({ entries: 1, differences: [] });
});
