import { zstdCompressSync } from 'node:zlib';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { MAX_PACKED_BYTES } from '../../../shared/base/limits.ts';
import { applyPatch } from '../../../shared/delta/apply.ts';
import { makePacked, PACKED_MAGIC } from '../../../shared/delta/packed.ts';
import { OldTree, pairDigest, type TreeFile } from '../../../shared/delta/tree.ts';
import { writeVarint } from '../../../shared/delta/varint.ts';
import { bytesOf } from '../../support/files.ts';
import { applied, contentOf, file, patchBetween } from './trees.ts';

const source = bytesOf('source', 60_000).toString('base64');
/** As builds do: the same change in every one of several bundles of the same source, each somewhere else in it. */
const build = (change: string): TreeFile[] =>
  ['cjs', 'esm', 'umd', 'min'].map((kind, n) => file(`dist/${kind}.js`, Buffer.from(`${kind}${source.slice(n * 999)}${change}${source.slice(0, 5000 + n)}`)));
const old = build('');
const next = build(bytesOf('change', 9000).toString('base64'));

const packedOf = async (from: readonly TreeFile[], to: readonly TreeFile[]): Promise<Buffer> =>
  (await makePacked(new OldTree(from), to)) ?? Promise.reject(new Error('not packed'));

/** A genuine head with any frame behind it. */
function framed(from: readonly TreeFile[], to: readonly TreeFile[], frame: Buffer, length = frame.length): Buffer {
  const total = to.reduce((sum, { size }) => sum + size, 0);
  return Buffer.concat([PACKED_MAGIC, pairDigest(new OldTree(from), to), writeVarint(to.length), writeVarint(total), writeVarint(length), frame]);
}

describe('the packed form of a patch', () => {
  it('is taken where it is smaller: a change that a build repeats in its files is told once', async () => {
    const patch = await patchBetween(old, next);
    expect(patch.subarray(0, 4)).toEqual(PACKED_MAGIC);
    expect(await applied(patch, old, next)).toEqual(next.map(contentOf));
    // Where a program is built anew the other form is smaller.
    const bytes = Buffer.from(bytesOf('program', 200_000));
    const rebuilt = Buffer.from(bytes);
    for (let at = 0; at < rebuilt.length; at += 300) rebuilt[at] = ((rebuilt[at] ?? 0) + 3) & 0xff;
    expect((await patchBetween([file('a', bytes)], [file('a', rebuilt)]))[3]).toBe(1);
  });

  it('law: gives the new tree from the old one, whatever they hold', async () => {
    const tree = fc
      .uniqueArray(fc.tuple(fc.stringMatching(/^[a-e]{1,3}$/), fc.uint8Array({ maxLength: 300 })), { selector: ([name]) => name, minLength: 1, maxLength: 6 })
      .map((files) => files.map(([name, bytes]) => file(name, bytes)));
    await fc.assert(
      fc.asyncProperty(tree, tree, async (from, to) => {
        const patch = await makePacked(new OldTree(from), to);
        if (patch !== undefined) expect(await applied(patch, from, to)).toEqual(to.map(contentOf));
      }),
      { numRuns: 200 },
    );
  });

  it('is refused wherever it is cut off, and when something follows', async () => {
    const patch = await packedOf(old, next);
    for (const bad of [patch.subarray(0, 4), patch.subarray(0, 20), patch.subarray(0, -1), Buffer.concat([patch, Buffer.from('x')])])
      await expect(applied(bad, old, next)).rejects.toMatchObject({ code: 'PATCH_INVALID' });
    await expect(applied(patch, next, old)).rejects.toMatchObject({ code: 'PATCH_WRONG_BASE' });
  });

  it('gives a code or as many bytes as the release has, whichever byte has a bit turned, of the patch or of an old file', async () => {
    const patch = await packedOf(old, next);
    const sizes = next.map(({ size }) => size);
    for (let at = 12; at < patch.length; at += Math.ceil(patch.length / 60)) {
      const bad = Buffer.from(patch);
      bad[at] = (bad[at] ?? 0) ^ 0x10;
      const outcome = await applied(bad, old, next).catch((error: unknown) => error);
      if (outcome instanceof Error) expect(outcome).toMatchObject({ code: expect.stringMatching(/^(PATCH_|LIMIT_)/) });
      else expect(outcome).toMatchObject(sizes.map((length) => ({ length })));
    }
    const damaged = contentOf(old[0] ?? file('', Buffer.alloc(0)));
    damaged.fill(0, 1000, 1500);
    const bent = old.map((one, n) => (n === 0 ? { ...file(one.path, damaged), sha256: one.sha256 } : one));
    const outcome = await applied(patch, bent, next).catch((error: unknown) => error);
    if (!(outcome instanceof Error)) expect(outcome).toMatchObject(sizes.map((length) => ({ length })));
  });

  it('is no bomb: a frame of more, or fewer, bytes than the release has, or longer than it may be, writes nothing', async () => {
    const bombs = [
      framed(old, next, zstdCompressSync(Buffer.alloc(50_000_000))),
      framed(old, next, zstdCompressSync(Buffer.from('short'))),
      framed(old, next, Buffer.from('nonsense'), 2 ** 40),
      framed(old, next, Buffer.alloc(0)),
    ];
    for (const bomb of bombs) {
      const write = (): void => expect.unreachable('bytes of a bomb');
      const patch = (async function* () {
        yield bomb;
      })();
      await expect(applyPatch({ patch, old, files: next, write })).rejects.toMatchObject({ code: 'PATCH_INVALID' });
    }
  });

  it('is neither made nor taken for releases that would not fit into memory with it', async () => {
    const large = [{ ...file('a', Buffer.alloc(10)), size: MAX_PACKED_BYTES, reader: { size: MAX_PACKED_BYTES, read: () => expect.unreachable('read') } }];
    expect(await makePacked(new OldTree(large), next)).toBeUndefined();
    expect(await makePacked(new OldTree([]), next)).toBeUndefined();
    await expect(applied(framed(large, next, Buffer.from('x')), large, next)).rejects.toMatchObject({ code: 'PATCH_INVALID' });
  });
});
