import { sha256 } from '../../../shared/bundle/digest.ts';
import { applyPatch } from '../../../shared/delta/apply.ts';
import { makePatch } from '../../../shared/delta/make.ts';
import type { TreeFile } from '../../../shared/delta/tree.ts';
import { seededRandom } from '../../support/random.ts';

/** A file of a tree in memory. */
export function file(path: string, content: Uint8Array): TreeFile {
  const bytes = Buffer.from(content);
  const read = (buffer: Uint8Array, position: number): void => {
    if (position < 0 || position + buffer.length > bytes.length) throw new Error(`read outside ${path}`);
    buffer.set(bytes.subarray(position, position + buffer.length));
  };
  return { path, size: bytes.length, sha256: sha256(bytes), reader: { size: bytes.length, read } };
}

export function contentOf({ size, reader }: TreeFile): Buffer {
  const bytes = Buffer.alloc(size);
  if (size > 0) void reader.read(bytes, 0);
  return bytes;
}

export async function patchBetween(old: readonly TreeFile[], files: readonly TreeFile[]): Promise<Buffer> {
  const parts: Buffer[] = [];
  for await (const part of makePatch({ old, files })) parts.push(part);
  return Buffer.concat(parts);
}

/** The new contents; never more bytes than the files say, or the test fails. */
export async function applied(patch: Uint8Array, old: readonly TreeFile[], files: readonly { size: number; sha256: string }[], step = 4096): Promise<Buffer[]> {
  const parts: Buffer[][] = files.map(() => []);
  const sizes = files.map(() => 0);
  await applyPatch({
    patch: inParts(patch, step),
    old,
    files,
    write: (index, bytes) => {
      sizes[index] = (sizes[index] ?? 0) + bytes.length;
      if ((sizes[index] ?? 0) > (files[index]?.size ?? 0)) throw new Error('more bytes than were promised');
      parts[index]?.push(Buffer.from(bytes));
    },
  });
  // Every content is given once, under the first file that has it.
  return files.map(({ sha256: hash }) => Buffer.concat(parts[files.findIndex((one) => one.sha256 === hash)] ?? []));
}

async function* inParts(bytes: Uint8Array, step: number): AsyncGenerator<Uint8Array> {
  for (let at = 0; at < bytes.length; at += step) yield bytes.subarray(at, at + step);
}

/** A change of a content as releases change: 0 puts in, 1 takes out, 2 replaces, 3 moves, 4 repeats. */
export interface Edit {
  readonly kind: number;
  readonly at: number;
  readonly length: number;
  readonly seed: number;
}

export function edited(bytes: Buffer, edits: readonly Edit[]): Buffer {
  let result = bytes;
  for (const { kind, at: where, length, seed } of edits) {
    const at = Math.min(where, result.length);
    const piece = result.subarray(at, at + length);
    const fresh = noise(seed, length);
    const behind = result.subarray(at + length);
    if (kind === 0) result = Buffer.concat([result.subarray(0, at), fresh, result.subarray(at)]);
    if (kind === 1) result = Buffer.concat([result.subarray(0, at), behind]);
    if (kind === 2) result = Buffer.concat([result.subarray(0, at), fresh, behind]);
    if (kind === 3) result = Buffer.concat([behind, piece, result.subarray(0, at)]);
    if (kind === 4) result = Buffer.concat([result, piece, piece, piece]);
  }
  return result;
}

export function noise(seed: number, length: number): Buffer {
  const random = seededRandom(seed);
  return Buffer.from(Array.from({ length }, () => Math.floor(random() * 256)));
}

/** A pair with copies, differences, literals, a moved file and several frames' worth of nothing. */
export async function example(): Promise<{ old: TreeFile[]; files: TreeFile[]; patch: Buffer }> {
  const before = noise(11, 6000);
  const after = edited(before, [
    { kind: 0, at: 100, length: 40, seed: 12 },
    { kind: 2, at: 3000, length: 5, seed: 13 },
    { kind: 1, at: 4000, length: 300, seed: 14 },
  ]);
  const old = [file('bin', before), file('same', noise(15, 500))];
  const files = [file('bin', after), file('renamed', noise(15, 500)), file('text', Buffer.from('quite new'))];
  return { old, files, patch: await patchBetween(old, files) };
}
