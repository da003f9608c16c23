import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { basesOf, lackingBytes, worthwhile } from '../../../provider/patch/choose.ts';
import { MAX_RELEASE_PATCHES } from '../../../shared/base/limits.ts';

const wanted = { application: 'viewer', manifest: 'new' };
const runs = (manifest: string | undefined): { running: ReadonlyMap<string, string> } => ({
  running: new Map(manifest === undefined ? [] : [['viewer', manifest]]),
});

describe('what patches are made of', () => {
  it('is every other release that the devices run', () => {
    expect(basesOf([runs('b'), runs('a'), runs('new'), runs('b')], wanted)).toEqual(['a', 'b']);
  });

  it('is nothing where a device runs nothing, has never spoken, or all have it already', () => {
    expect(basesOf([runs('a'), runs(undefined)], wanted)).toEqual([]);
    expect(basesOf([runs('a'), { running: undefined }], wanted)).toEqual([]);
    expect(basesOf([runs('new')], wanted)).toEqual([]);
    expect(basesOf([], wanted)).toEqual([]);
  });

  it('is nothing where there are more of them than patches may be', () => {
    const bases = (count: number): readonly string[] =>
      basesOf(
        Array.from({ length: count }, (_, n) => runs(`old-${n}`)),
        wanted,
      );
    expect(bases(MAX_RELEASE_PATCHES)).toHaveLength(MAX_RELEASE_PATCHES);
    expect(bases(MAX_RELEASE_PATCHES + 1)).toEqual([]);
  });
});

describe('whether patches are worth it', () => {
  it('is measured by the chunks that no old release has', () => {
    const chunks = new Map([
      ['a', 100],
      ['b', 200],
      ['c', 300],
    ]);
    expect(lackingBytes(chunks, [new Map([['a', 100]]), new Map([['c', 300]])])).toBe(200);
    expect(lackingBytes(chunks, [])).toBe(600);
    expect(worthwhile([100], 200)).toBe(true);
    expect(worthwhile([100, 100], 200)).toBe(false);
    expect(worthwhile([], 200)).toBe(false);
  });

  it('law: patches that are sent never have more bytes than what they replace', () => {
    fc.assert(
      fc.property(fc.array(fc.nat(1000), { minLength: 1 }), fc.nat(5000), (patches, lacking) => {
        if (worthwhile(patches, lacking)) expect(patches.reduce((sum, bytes) => sum + bytes, 0)).toBeLessThanOrEqual(lacking);
      }),
    );
  });
});
