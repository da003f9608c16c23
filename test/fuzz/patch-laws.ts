import { zstdCompressSync } from 'node:zlib';
import fc from 'fast-check';
import { WardcastError } from '../../shared/base/errors.ts';
import { makePacked } from '../../shared/delta/packed.ts';
import { OldTree } from '../../shared/delta/tree.ts';
import { unpackTarget } from '../../shared/net/exchange/target-form.ts';
import { applied, file, patchBetween } from '../shared/delta/trees.ts';
import { bytesOf } from '../support/files.ts';
import { type Law, law, lawfully } from './law.ts';
import { anyBytes, mutated } from './mutation.ts';

/** What expands: patches, and signed files that travel compressed. */
export async function patchLaws(): Promise<Law[]> {
  const bytes = bytesOf('fuzz', 40_000);
  const changed = Buffer.concat([bytes.subarray(0, 9000), Buffer.from('something new'), bytes.subarray(11_000)]);
  const old = [file('a', bytes), file('b', Buffer.from('text '.repeat(500)))];
  const files = [file('a', changed), file('c', Buffer.from('text '.repeat(600))), file('copy', bytes)];
  const patch = await patchBetween(old, files);
  const packed = (await makePacked(new OldTree(old), files)) ?? patch;
  /** The head is right, so that what follows is read: a stranger can make it too. */
  const head = patch.subarray(0, 16);
  const framed = compressed(bytesOf('manifest', 3000));
  return [
    law(
      'patches: more bytes than the release has, or from outside the old files, come of none',
      fc.oneof(
        mutated([patch, packed]),
        anyBytes([patch]).map((rest) => Buffer.concat([head, rest])),
        anyBytes([packed]).map((rest) => Buffer.concat([packed.subarray(0, 18), rest])),
      ),
      (one) => lawfully(() => applied(one, old, files)),
      50,
    ),
    law(
      'patches applied to damaged old files give as many bytes as the release has, or a code',
      fc.tuple(fc.nat(bytes.length - 1), fc.integer({ min: 1, max: 255 }), fc.constantFrom(patch, packed)),
      ([at, flip, form]) =>
        lawfully(async () => {
          const damaged = Buffer.from(bytes);
          damaged[at] = (damaged[at] ?? 0) ^ flip;
          const broken = { ...file('a', damaged), sha256: file('a', bytes).sha256 };
          const contents = await applied(form, [broken, ...old.slice(1)], files);
          if (contents.some((content, index) => content.length !== files[index]?.size)) throw new Error('fewer bytes than were promised');
        }),
      50,
    ),
    law('signed files that came compressed: never more bytes than they may have', fc.tuple(anyBytes([framed]), fc.nat(5000)), ([one, max]) =>
      lawfully(() => {
        const whole = unpackTarget(one, max);
        if (whole !== one && whole.length > max) throw new WardcastError('INTERNAL', `${whole.length} bytes, not ${max}`);
      }),
    ),
  ];
}

function compressed(bytes: Buffer): Buffer {
  return zstdCompressSync(Buffer.concat([bytes, Buffer.alloc(3000)]));
}
