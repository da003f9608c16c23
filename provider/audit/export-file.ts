import { createHash } from 'node:crypto';
import { open, rename, rm } from 'node:fs/promises';
import { dirname } from 'node:path';
import { fsyncDirectory, temporaryName } from '../../shared/store/durable-file.ts';
import { storageFailed } from '../../shared/store/storage-failed.ts';

/** Writes lines to a file that appears when it is complete and synced. Adds the file's sha256 to what the lines end with. @throws STORAGE_FAILED and what the lines throw */
export async function writeExport<End extends object>(file: string, lines: AsyncGenerator<string, End>): Promise<End & { readonly sha256: string }> {
  const temporary = temporaryName(file);
  try {
    const end = await writeLines(temporary, lines);
    await rename(temporary, file);
    await fsyncDirectory(dirname(file));
    return end;
  } catch (error) {
    await rm(temporary, { force: true });
    throw storageFailed(error, 'Cannot write', file);
  }
}

async function writeLines<End extends object>(file: string, lines: AsyncGenerator<string, End>): Promise<End & { readonly sha256: string }> {
  const digest = createHash('sha256');
  const handle = await open(file, 'wx', 0o600);
  try {
    for (;;) {
      const next = await lines.next();
      if (next.done === true) {
        await handle.sync();
        return { ...next.value, sha256: digest.digest('hex') };
      }
      digest.update(next.value);
      // From where the last one ended, all of it.
      await handle.writeFile(next.value);
    }
  } finally {
    await handle.close();
  }
}
