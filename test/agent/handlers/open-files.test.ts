import type { FileHandle } from 'node:fs/promises';
import { open } from 'node:fs/promises';
import { join } from 'node:path';
import { beforeEach, describe, expect, it } from 'vitest';
import { OpenFiles } from '../../../agent/handlers/open-files.ts';
import { seededRandom } from '../../support/random.ts';
import { temporaryDirectory } from '../../support/temporary-directory.ts';

describe('files kept open', () => {
  let directory: string;
  let openNow: number;
  let most: number;
  let opened: number;
  beforeEach(async () => {
    directory = await temporaryDirectory();
    openNow = 0;
    most = 0;
    opened = 0;
  });
  const opener = async (key: number): Promise<FileHandle> => {
    openNow += 1;
    opened += 1;
    most = Math.max(most, openNow);
    const handle = await open(join(directory, String(key)), 'w+');
    const close = handle.close.bind(handle);
    handle.close = async () => {
      await close();
      openNow -= 1;
    };
    return handle;
  };

  it('are never more than the limit, whatever is used at once', async () => {
    const random = seededRandom(7);
    const files = new OpenFiles(5, opener);
    await Promise.all(
      Array.from({ length: 500 }, () => {
        const key = Math.floor(random() * 40);
        return files.use(key, async (handle) => {
          await handle.write('x', 0);
          if (random() < 0.5) await new Promise((tick) => setImmediate(tick));
        });
      }),
    );
    // Each used once and closed, as files are that are finished.
    await Promise.all(
      Array.from({ length: 200 }, (_, key) => files.use(100 + key, async (handle) => void (await handle.stat())).then(() => files.close(100 + key))),
    );
    expect(most).toBe(5);
    await files.closeAll();
    expect(openNow).toBe(0);
  });

  it('stay open for the next use, the one used longest ago goes first', async () => {
    const files = new OpenFiles(2, opener);
    for (const key of [1, 2, 1, 1, 3, 1]) await files.use(key, async (handle) => void (await handle.stat()));
    expect(opened).toBe(3);
    await files.use(2, async (handle) => void (await handle.stat()));
    expect(opened).toBe(4);
    await files.close(2);
    await files.close(99);
    await files.closeAll();
    expect(openNow).toBe(0);
  });

  it('that cannot be opened are tried again at the next use', async () => {
    let fails = true;
    const files = new OpenFiles<number>(2, (key) => (fails ? Promise.reject(new Error('no')) : opener(key)));
    await expect(files.use(1, async () => undefined)).rejects.toThrow('no');
    fails = false;
    expect(await files.use(1, async () => 'yes')).toBe('yes');
    await files.closeAll();
  });
});
