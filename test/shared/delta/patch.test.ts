import { createCipheriv, createHash } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { isWardcastError } from '../../../shared/base/errors.ts';
import { sha256 } from '../../../shared/bundle/digest.ts';
import { applyPatch } from '../../../shared/delta/apply.ts';
import type { TreeFile } from '../../../shared/delta/tree.ts';
import { seededRandom } from '../../support/random.ts';
import { applied, contentOf, edited, example, file, noise, patchBetween } from './trees.ts';

const edit = fc.record({ kind: fc.integer({ min: 0, max: 4 }), at: fc.nat(5000), length: fc.nat(300), seed: fc.nat() });
/** Text-like, so that parts of it look alike. */
const content = fc.tuple(fc.nat(), fc.nat(4000)).map(([seed, length]) => {
  const random = seededRandom(seed);
  return Buffer.from(Array.from({ length }, () => Math.floor(random() ** 3 * 32) + 64));
});

const trees = fc
  .array(fc.record({ name: fc.constantFrom('a', 'b', 'lib/c-1.2.3.so', 'd'), content, edits: fc.array(edit, { maxLength: 4 }), fate: fc.nat(5) }), {
    maxLength: 5,
  })
  .map((entries) => {
    const old = new Map<string, Buffer>();
    const now = new Map<string, Buffer>();
    for (const { name, content: bytes, edits, fate } of entries) {
      if (fate !== 0) old.set(name, bytes);
      if (fate === 1) now.set(name, bytes);
      else if (fate === 2) now.set(`moved/${name.replace('1.2.3', '1.2.4')}`, edited(bytes, edits));
      else if (fate !== 5) now.set(name, edited(bytes, edits));
    }
    const list = (map: Map<string, Buffer>): TreeFile[] => [...map].map(([path, bytes]) => file(path, bytes));
    return { old: list(old), files: list(now) };
  });

describe('a patch between two trees', () => {
  it('gives the new tree from the old one, however it arrives: apply(make(a, b), a) = b', async () => {
    await fc.assert(
      fc.asyncProperty(trees, fc.integer({ min: 1, max: 5000 }), async ({ old, files }, step) => {
        const patch = await patchBetween(old, files);
        const contents = await applied(patch, [...old].reverse(), files, step);
        expect(contents.map((bytes) => bytes.toString('latin1'))).toEqual(files.map((one) => contentOf(one).toString('latin1')));
      }),
      { numRuns: 30 },
    );
  });

  it('is the same bytes for the same trees', async () => {
    await fc.assert(
      fc.asyncProperty(trees, async ({ old, files }) => {
        expect((await patchBetween(old, files)).equals(await patchBetween([...old].reverse(), files))).toBe(true);
      }),
      { numRuns: 8 },
    );
  });

  it('takes empty trees, empty files and runs of one byte', async () => {
    const run = file('run', Buffer.alloc(1_000_000, 7));
    const longer = file('run', Buffer.alloc(1_300_001, 7));
    const cases = [
      [[], []],
      [[], [file('new', Buffer.alloc(0))]],
      [[file('gone', Buffer.from('x'))], []],
      [[file('tiny', Buffer.from('x'))], [file('tiny', Buffer.from('xy'))]],
      [[run], [longer]],
      [[longer], [run]],
      [[file('filled', Buffer.alloc(70_000, 1))], [file('filled', Buffer.alloc(0))]],
    ] as const;
    for (const [old, files] of cases) {
      const patch = await patchBetween(old, files);
      expect((await applied(patch, old, files)).map(sha256)).toEqual(files.map((one) => one.sha256));
      expect(patch.length).toBeLessThan(250);
    }
  });

  it('costs next to nothing for files that only moved', async () => {
    const old = Array.from({ length: 200 }, (_, index) => file(`app-1.0/${index}`, noise(index, 3000)));
    const files = Array.from({ length: 200 }, (_, index) => file(`app-1.1/${index}`, noise(index, 3000)));
    expect((await patchBetween(old, files)).length).toBeLessThan(200);
  });

  it('finds a file again whose version is in its name, and that changed', async () => {
    const before = noise(1, 50_000);
    const patch = await patchBetween(
      [file('lib/libz.so.1.2.9', before)],
      [file('lib/libz.so.1.2.11', edited(before, [{ kind: 0, at: 20, length: 30, seed: 2 }]))],
    );
    expect(patch.length).toBeLessThan(120);
  });

  it('finds what a new file was taken out of', async () => {
    const before = noise(1, 50_000);
    const old = [file('src/all.ts', before), file('src/other.ts', noise(2, 20_000))];
    const files = [
      file('src/all.ts', before.subarray(0, 20_000)),
      file('src/part.ts', before.subarray(20_000)),
      file('src/part2.ts', noise(2, 20_001).subarray(1)),
    ];
    const patch = await patchBetween(old, files);
    expect(patch.length).toBeLessThan(120);
    expect((await applied(patch, old, files)).map(sha256)).toEqual(files.map((one) => one.sha256));
  });

  it('is hardly larger than noise that nothing foretells', async () => {
    const files = [file('noise', noise(5, 200_000))];
    const patch = await patchBetween([file('noise', noise(6, 200_000))], files);
    expect(patch.length).toBeLessThan(200_000 * 1.002);
    expect((await applied(patch, [file('noise', noise(6, 200_000))], files)).map(sha256)).toEqual([files[0]?.sha256]);
  });
});

describe('applying', () => {
  it('reads old files in place and holds a bounded part of them, whatever their size', async () => {
    const before = createCipheriv('aes-128-ctr', Buffer.alloc(16, 1), Buffer.alloc(16)).update(Buffer.alloc(64 << 20));
    const after = Buffer.concat([before.subarray(5 << 20), Buffer.from('x'), before.subarray(0, 5 << 20)]);
    const old = [file('big', before)];
    const files = [file('big', after)];
    const patch = await patchBetween(old, files);
    expect(patch.length).toBeLessThan(200);
    let largestRead = 0;
    const watched = old.map((one) => ({
      ...one,
      reader: {
        size: one.size,
        read(buffer: Uint8Array, position: number) {
          largestRead = Math.max(largestRead, buffer.length);
          return one.reader.read(buffer, position);
        },
      },
    }));
    const start = process.memoryUsage().arrayBuffers;
    let most = 0;
    const hash = createHash('sha256');
    await applyPatch({
      patch: (async function* () {
        yield patch;
      })(),
      old: watched,
      files,
      write: (_, bytes) => {
        hash.update(bytes);
        most = Math.max(most, process.memoryUsage().arrayBuffers - start);
      },
    });
    expect(hash.digest('hex')).toBe(files[0]?.sha256);
    expect(largestRead).toBeLessThanOrEqual(256 * 1024);
    expect(most).toBeLessThan(48 << 20);
  });
});

describe('a hostile patch', () => {
  it('is refused with a code wherever it is cut off, and when something follows', async () => {
    const { old, files, patch } = await example();
    for (let length = 0; length < patch.length; length++) {
      const refused = await refusal(patch.subarray(0, length), old, files);
      expect(refused, `cut to ${length} of ${patch.length}`).toBe('PATCH_INVALID');
    }
    expect(await refusal(Buffer.concat([patch, Buffer.from([0])]), old, files)).toBe('PATCH_INVALID');
  });

  it('gives a code or bytes that the hashes refuse, whichever byte has a bit turned', async () => {
    const { old, files, patch } = await example();
    let harmless = 0;
    // One bit of every byte, each time another.
    for (let bit = 0; bit < patch.length * 8; bit += 9) {
      const damaged = Buffer.from(patch);
      damaged[bit >> 3] = (damaged[bit >> 3] ?? 0) ^ (1 << (bit & 7));
      if ((await refusal(damaged, old, files)) === undefined) harmless++;
    }
    // The very last bits only have to name some number in the coder's last interval.
    expect(harmless).toBeLessThan(4);
  });

  it('of any bytes behind a good head is refused, and never writes more than was promised or reads outside', async () => {
    const { old, files, patch } = await example();
    await fc.assert(
      fc.asyncProperty(fc.uint8Array({ minLength: 1, maxLength: 600 }), async (bytes) => {
        const length = Buffer.from(bytes.length < 128 ? [bytes.length] : [(bytes.length & 127) | 128, bytes.length >> 7]);
        expect(await refusal(Buffer.concat([patch.subarray(0, HEAD), length, bytes]), old, files)).toBeDefined();
      }),
      { numRuns: 60 },
    );
  });

  it('is refused for another release than it was made for, before a byte is written', async () => {
    const { old, files, patch } = await example();
    expect(await refusal(patch, [file('bin', noise(99, 6000)), ...old.slice(1)], files)).toBe('PATCH_WRONG_BASE');
    expect(await refusal(patch, old, files.slice(1))).toBe('PATCH_WRONG_BASE');
  });

  it('is refused when its counts or a frame are larger than they may be', async () => {
    const { old, files, patch } = await example();
    const counts = Buffer.concat([patch.subarray(0, 12), Buffer.from([0xff, 0xff, 0xff, 0x7f]), patch.subarray(13)]);
    expect(await refusal(counts, old, files)).toBe('PATCH_INVALID');
    const endless = Buffer.concat([patch.subarray(0, 12), Buffer.alloc(20, 0xff)]);
    expect(await refusal(endless, old, files)).toBe('PATCH_INVALID');
    const bomb = Buffer.concat([patch.subarray(0, HEAD), Buffer.from([0xff, 0xff, 0xff, 0xff, 0x0f])]);
    expect(await refusal(bomb, old, files)).toBe('LIMIT_EXCEEDED');
  });

  it('a damaged old file gives wrong bytes of the right number, or a code, never anything else', async () => {
    const { old, files, patch } = await example();
    const [first] = old;
    if (first === undefined) throw new Error('no file');
    const rotten = { ...first, reader: file('bin', noise(3, first.size)).reader };
    expect(await refusal(patch, [rotten, ...old.slice(1)], files)).toBeDefined();
  });
});

/** Bytes before the first frame of the example: magic, digest, two counts. */
const HEAD = 4 + 8 + 1 + 2;

/** The code of the refusal, HASH_MISMATCH when only the hashes tell, undefined when all is as it should be. */
async function refusal(patch: Uint8Array, old: readonly TreeFile[], files: readonly TreeFile[]): Promise<string | undefined> {
  try {
    const contents = await applied(patch, old, files, 1 << 20);
    return contents.every((bytes, index) => sha256(bytes) === files[index]?.sha256) ? undefined : 'HASH_MISMATCH';
  } catch (error) {
    if (isWardcastError(error)) return error.code;
    throw error;
  }
}

describe('the format', () => {
  it('is what it was: a golden patch applies, and is made again to the byte', async () => {
    const { old, files, patch } = await example();
    const golden = Buffer.from((await readFile(new URL('../../vectors/patch.hex', import.meta.url), 'utf8')).replaceAll(/\s/g, ''), 'hex');
    expect((await applied(golden, old, files)).map(sha256)).toEqual(files.map((one) => one.sha256));
    expect(patch.equals(golden)).toBe(true);
  });

  it.each(['x86-64', 'arm64'] as const)('foretells addresses: an %s program whose code moved differs in little else', async (machine) => {
    const { before, after } = programs(machine);
    const old = [file('program', before)];
    const files = [file('program', after)];
    const patch = await patchBetween(old, files);
    expect((await applied(patch, old, files)).map(sha256)).toEqual([sha256(after)]);
    // The same without a program header: nothing is foretold.
    const plain = await patchBetween([file('program', before.subarray(1))], [file('program', after.subarray(1))]);
    expect(patch.length).toBeLessThan(plain.length / 4);
  });
});

/** Two programs of calls to each other's functions; the second has one function more in the middle. */
function programs(machine: 'x86-64' | 'arm64'): { before: Buffer; after: Buffer } {
  const functions = 600;
  const make = (extra: boolean): Buffer => {
    const random = seededRandom(77);
    const starts: number[] = [];
    let at = 4096;
    for (let index = 0; index < functions; index++) {
      if (index === 300 && extra) at += 64;
      starts.push(at);
      at += 160;
    }
    const bytes = Buffer.alloc(at, 0x90);
    Buffer.from('7f454c4602010100000000000000000002003e00', 'hex').copy(bytes);
    bytes.writeUInt16LE(machine === 'arm64' ? 183 : 62, 18);
    bytes.writeBigUInt64LE(64n, 32);
    bytes.writeUInt16LE(56, 54);
    bytes.writeUInt16LE(1, 56);
    bytes.writeUInt32LE(1, 64);
    bytes.writeUInt32LE(5, 68);
    bytes.writeBigUInt64LE(0n, 72);
    bytes.writeBigUInt64LE(0x400000n, 80);
    bytes.writeBigUInt64LE(BigInt(at), 96);
    bytes.writeBigUInt64LE(BigInt(at), 104);
    for (const [index, start] of starts.entries()) {
      createHash('sha512')
        .update(String(index))
        .digest()
        .copy(bytes, start + 96);
      for (let call = 0; call < 8; call++) {
        const place = start + call * 12;
        const target = starts[Math.floor(random() * functions)] ?? 0;
        if (machine === 'arm64') bytes.writeUInt32LE((0x94000000 | (((target - place) >> 2) & 0x03ffffff)) >>> 0, place);
        else {
          bytes[place] = 0xe8;
          bytes.writeInt32LE(target - (place + 5), place + 1);
        }
      }
    }
    return bytes;
  };
  return { before: make(false), after: make(true) };
}
