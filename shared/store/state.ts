import { Level } from 'level';
import { STATE_CACHE, STATE_WRITE_BUFFER } from '../base/limits.ts';
import { makeDirectory } from './durable-file.ts';
import { storageFailed } from './storage-failed.ts';

/** The daemon's own small truths (level, JSON values). Every write is synced: level's default loses acknowledged writes in a power cut. */
export type State = Level<string, unknown>;

/** @throws STORAGE_FAILED when the directory is in use, not writable or damaged */
export async function openState(directory: string): Promise<State> {
  await makeDirectory(directory, 0o700);
  const db = new Level<string, unknown>(directory, {
    keyEncoding: 'utf8',
    valueEncoding: 'json',
    writeBufferSize: STATE_WRITE_BUFFER,
    cacheSize: STATE_CACHE,
  });
  try {
    await db.open();
  } catch (error) {
    throw storageFailed(error, 'Cannot open the database', directory);
  }
  return db;
}
