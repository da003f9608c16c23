import { join } from 'node:path';
import type { Clock } from '../../shared/base/clock.ts';
import type { Log } from '../../shared/base/log.ts';
import { checkTable } from './check.ts';
import { openLevelTable } from './level-table.ts';
import { LogRegistry } from './log-registry.ts';
import { type Rebuilt, rebuildTable } from './rebuild.ts';
import type { Checked, Registry } from './registry.ts';

/** Where the registry lies in a provider's data directory. */
export function registryDirectory(dataDirectory: string): string {
  return join(dataDirectory, 'registry');
}

/** The registry of a provider's data directory, made when it is new. @throws STORAGE_FAILED, LOG_BROKEN */
export async function openLevelRegistry(dataDirectory: string, { clock, log }: { clock: Clock; log: Log }): Promise<Registry> {
  const table = await openLevelTable(registryDirectory(dataDirectory));
  try {
    return new LogRegistry(table, { clock, log });
  } catch (error) {
    await table.close();
    throw error;
  }
}

/** Writes the rows of a provider that is not running anew from its log. @throws as `checkRegistry`; LOG_BROKEN, with nothing changed */
export async function rebuildRegistry(dataDirectory: string): Promise<Rebuilt> {
  const table = await openLevelTable(registryDirectory(dataDirectory), { mustExist: true });
  try {
    return await rebuildTable(table);
  } finally {
    await table.close();
  }
}

/** Replays and compares the registry of a provider that is not running. @throws STORAGE_FAILED when it is running; NOT_FOUND */
export async function checkRegistry(dataDirectory: string): Promise<Checked> {
  const table = await openLevelTable(registryDirectory(dataDirectory), { mustExist: true });
  const frozen = table.frozen();
  try {
    return await checkTable(frozen);
  } finally {
    await frozen.release();
    await table.close();
  }
}
