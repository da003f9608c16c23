import { zstdCompressSync } from 'node:zlib';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { canonicalJson } from '../../../../shared/bundle/canonical.ts';
import { packTarget, unpackTarget } from '../../../../shared/net/exchange/target-form.ts';

describe('a signed file on its way', () => {
  it('law: comes out as it went in, and never larger on the way', async () => {
    await fc.assert(
      fc.asyncProperty(fc.dictionary(fc.string(), fc.string({ maxLength: 200 })), async (value) => {
        const bytes = canonicalJson(value);
        const packed = await packTarget(bytes);
        expect(packed.length).toBeLessThanOrEqual(bytes.length);
        expect(unpackTarget(packed, bytes.length)).toEqual(bytes);
      }),
      { numRuns: 50 },
    );
    const list = canonicalJson(Array.from({ length: 1000 }, (_, n) => ({ hash: n.toString(16).padStart(64, 'a'), size: 65_536 })));
    expect((await packTarget(list)).length).toBeLessThan(list.length / 5);
  });

  it('is refused when it is larger than it may be, or no whole frame', () => {
    const bomb = zstdCompressSync(Buffer.alloc(10_000_000));
    expect(() => unpackTarget(bomb, 1000)).toThrow(expect.objectContaining({ code: 'LIMIT_EXCEEDED' }));
    expect(() => unpackTarget(bomb.subarray(0, -4), 20_000_000)).toThrow(expect.objectContaining({ code: 'LIMIT_EXCEEDED' }));
    expect(() => unpackTarget(Buffer.concat([bomb.subarray(0, 6), Buffer.from('nonsense')]), 1000)).toThrow(
      expect.objectContaining({ code: 'LIMIT_EXCEEDED' }),
    );
  });
});
