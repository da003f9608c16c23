import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import { expect, it } from 'vitest';
import { storageFailed } from '../../../shared/store/storage-failed.ts';
import { temporaryDirectory } from '../../support/temporary-directory.ts';

const run = promisify(execFile);
const program = (directory: string): string => `
  import { randomBytes, hash } from 'node:crypto';
  import { readdir } from 'node:fs/promises';
  import { DiskChunkStore } from ${JSON.stringify(`${process.cwd()}/shared/store/disk-chunk-store.ts`)};
  const directory = ${JSON.stringify(`${directory}/store`)};
  const store = await DiskChunkStore.open(directory);
  let kept = 0, code, remedy;
  for (let i = 0; i < 100 && code === undefined; i++) {
    const bytes = randomBytes(60_000);
    try { await store.put(hash('sha256', bytes), bytes); kept++; } catch (error) { ({ code, remedy } = error); }
  }
  const leftovers = (await readdir(directory, { recursive: true })).filter((name) => name.endsWith('.tmp'));
  const again = await DiskChunkStore.open(directory);
  for await (const { hash: name } of again.list()) await again.get(name);
  console.log(JSON.stringify({ code, remedy, kept, count: again.count, bytes: again.bytes, leftovers }));
`;

it('tells a full disk from other trouble, keeps what it had and leaves nothing half-written', async () => {
  const directory = await temporaryDirectory();
  // A file system of one MiB of our own, inside a mount namespace that ends with the command.
  const script = `mount -t tmpfs -o size=1m tmpfs "${directory}" && exec "${process.execPath}" --input-type=module -e "$PROGRAM"`;
  const { stdout } = await run('unshare', ['--user', '--map-root-user', '--mount', 'sh', '-c', script], {
    env: { ...process.env, PROGRAM: program(directory) },
  });
  const seen = JSON.parse(stdout);
  expect(seen.code).toBe('STORAGE_FAILED');
  expect(seen.remedy).toMatch(/Free space/);
  expect(seen.kept).toBeGreaterThan(5);
  expect(seen.count).toBe(seen.kept);
  expect(seen.bytes).toBe(seen.kept * 60_000);
  expect(seen.leftovers).toEqual([]);
});

it('names the path, the reason and the remedy', () => {
  const error = storageFailed(Object.assign(new Error('no space left on device'), { code: 'ENOSPC' }), 'Cannot write', '/data/x');
  expect(error.toJSON()).toMatchObject({ code: 'STORAGE_FAILED', message: 'Cannot write /data/x: no space left on device', context: { system: 'ENOSPC' } });
});
