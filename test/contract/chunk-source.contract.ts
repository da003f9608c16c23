import { createHash, randomBytes } from 'node:crypto';
import { describe, expect, it } from 'vitest';
import { isWardcastError } from '../../shared/base/errors.ts';
import type { ChunkSource } from '../../shared/store/chunk-source.ts';

export function chunkOf(size = 1000): { hash: string; bytes: Buffer } {
  const bytes = randomBytes(size);
  return { hash: createHash('sha256').update(bytes).digest('hex'), bytes };
}

/** What every ChunkSource keeps to. `make` gives one that holds exactly these chunks. */
export function chunkSourceContract(name: string, make: (chunks: readonly { hash: string; bytes: Buffer }[]) => Promise<ChunkSource>): void {
  describe(`${name} is a ChunkSource that`, () => {
    it('gives what it has, byte for byte', async () => {
      const chunks = [chunkOf(1), chunkOf(1000), chunkOf(256 * 1024)];
      const source = await make(chunks);
      for (const { hash, bytes } of chunks) expect((await source.get(hash)).equals(bytes)).toBe(true);
    });

    it('says what it has', async () => {
      const chunk = chunkOf();
      const source = await make([chunk]);
      expect(await source.has(chunk.hash)).toBe(true);
    });

    it('answers OBJECT_ABSENT for what it has not', async () => {
      const source = await make([chunkOf()]);
      await expect(source.get('0'.repeat(64))).rejects.toSatisfy((error) => isWardcastError(error, 'OBJECT_ABSENT'));
    });

    it('answers OBJECT_ABSENT for names that are no hash', async () => {
      const source = await make([chunkOf()]);
      for (const bad of ['', '../../etc/passwd', 'A'.repeat(64), 'a'.repeat(63)]) {
        await expect(source.get(bad)).rejects.toSatisfy((error) => isWardcastError(error, 'OBJECT_ABSENT'));
      }
    });

    it('serves many calls at once, also for the same chunk', async () => {
      const chunks = Array.from({ length: 50 }, () => chunkOf(5000));
      const source = await make(chunks);
      const got = await Promise.all([...chunks, ...chunks].map(({ hash }) => source.get(hash)));
      expect(got.every((bytes, index) => bytes.equals(chunks[index % 50]?.bytes ?? Buffer.alloc(0)))).toBe(true);
    });

    it('does not let an absent one disturb its neighbours', async () => {
      const chunk = chunkOf();
      const source = await make([chunk]);
      const [good, bad] = await Promise.allSettled([source.get(chunk.hash), source.get('f'.repeat(64))]);
      expect(good).toMatchObject({ status: 'fulfilled' });
      expect(bad).toMatchObject({ status: 'rejected' });
    });

    it('stops when its signal is aborted', async () => {
      const chunk = chunkOf();
      const source = await make([chunk]);
      await expect(source.get(chunk.hash, { signal: AbortSignal.abort(new Error('enough')) })).rejects.toThrow('enough');
    });
  });
}
