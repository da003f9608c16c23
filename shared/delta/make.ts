import { WardcastError } from '../base/errors.ts';
import { MAX_PATCH_FILE, MAX_PATCH_OPERATIONS } from '../base/limits.ts';
import { AddressMap, type Place } from './address-map.ts';
import { Addresses } from './addresses.ts';
import { ArithmeticEncoder } from './arithmetic.ts';
import { DONOR_BUDGET, donorsFor, matchDonors } from './donors.ts';
import { HEADER_BYTES, type Layout, parseLayout } from './elf.ts';
import { match } from './match.ts';
import { Operations } from './operations.ts';
import { makePacked } from './packed.ts';
import { pairFiles } from './pair.ts';
import { LOOK_BACK } from './residual-model.ts';
import { distinct, OldTree, pairDigest, type TreeFile } from './tree.ts';
import { MAGIC, NEIGHBOURS, OPERATIONS_AT_ONCE, PIECE, TreeCodec, Window } from './tree-codec.ts';
import { writeVarint } from './varint.ts';

/** Bytes of coded content after which a frame ends: what the other side needs in memory at once. */
const FRAME = 64 * 1024;

export interface MakeOptions {
  /** The release that devices have, in any order. */
  readonly old: readonly TreeFile[];
  /** The release they shall have; the patch gives their bytes in this order, each content once. */
  readonly files: readonly TreeFile[];
  readonly signal?: AbortSignal;
}

/**
 * The patch from one tree to another, in parts as they are ready; the same trees give the same bytes. Holds one pair of files and its table in memory
 * (both sizes and up to 128 MiB) and keeps a core busy: run it in a worker.
 * @throws LIMIT_EXCEEDED for a changed file larger than MAX_PATCH_FILE, ABORTED, and what readers throw
 */
export async function* makePatch(options: MakeOptions): AsyncGenerator<Buffer> {
  const old = new OldTree(options.old);
  const packed = await makePacked(old, options.files);
  if (packed === undefined) {
    yield* makeCoded(options, old);
    return;
  }
  // Small enough for both forms: whichever is smaller.
  const parts: Buffer[] = [];
  let bytes = 0;
  for await (const part of makeCoded(options, old)) {
    parts.push(part);
    bytes += part.length;
    if (bytes >= packed.length) break;
  }
  if (bytes < packed.length) yield* parts;
  else yield packed;
}

async function* makeCoded({ files, signal }: MakeOptions, old: OldTree): AsyncGenerator<Buffer> {
  const total = files.reduce((sum, { size }) => sum + size, 0);
  yield Buffer.concat([MAGIC, pairDigest(old, files), writeVarint(files.length), writeVarint(total)]);
  const encoder = new ArithmeticEncoder();
  const maker = new Maker(old, files, encoder);
  const bases = pairFiles(old, files);
  for (const index of distinct(files)) {
    const file = files[index];
    if (file !== undefined) yield* maker.file(file, bases[index] ?? -1, signal);
  }
  yield frame(encoder);
}

const NOTHING = Buffer.alloc(0);

class Maker {
  readonly #old: OldTree;
  readonly #files: readonly TreeFile[];
  readonly #encoder: ArithmeticEncoder;
  readonly #codec: TreeCodec;
  readonly #window = new Window();
  #expected = 0;
  #donorBudget = DONOR_BUDGET;

  constructor(old: OldTree, files: readonly TreeFile[], encoder: ArithmeticEncoder) {
    this.#old = old;
    this.#files = files;
    this.#encoder = encoder;
    this.#codec = new TreeCodec(encoder);
  }

  async *file(file: TreeFile, base: number, signal: AbortSignal | undefined): AsyncGenerator<Buffer> {
    signal?.throwIfAborted();
    const codec = this.#codec;
    codec.codeBase(base, this.#expected);
    const before = this.#old.files[base];
    if (before !== undefined) {
      this.#expected = base + 1;
      const identical = before.sha256 === file.sha256 && before.size === file.size;
      if (codec.codeIdentical(identical)) {
        yield* this.#frameEnd();
        return;
      }
    }
    const bytes = await readAll(file);
    const contents = new Map<number, Buffer>();
    for (const index of before === undefined ? donorsFor(file, this.#old, this.#files, this.#donorBudget) : [base]) {
      const source = this.#old.files[index];
      if (source === undefined) continue;
      if (before === undefined) this.#donorBudget -= source.size;
      contents.set(index, await readAll(source));
    }
    const start = this.#old.starts[base] ?? 0;
    const oldBytes = contents.get(base) ?? NOTHING;
    const operations = within(before === undefined ? matchDonors(contents, this.#old, bytes) : match(oldBytes, bytes, start), bytes.length);
    codec.operations.codeCount(this.#encoder, operations.count);
    for (let at = 0; at < operations.count; at++) {
      codec.operations.code(this.#encoder, operations, at, start);
      if (at % OPERATIONS_AT_ONCE === OPERATIONS_AT_ONCE - 1) yield* this.#frameEnd();
    }
    const addresses = this.#addresses(operations, oldBytes, bytes, start);
    yield* this.#body(operations, contents, bytes, addresses, signal);
  }

  /** Programs of the same kind with as many segments on both sides: their addresses can be foretold. */
  #addresses(operations: Operations, old: Buffer, bytes: Buffer, start: number): Addresses | undefined {
    const layout = parseLayout(old.subarray(0, HEADER_BYTES));
    if (layout === undefined) return undefined;
    const places = this.#codec.codePlaces(layout, placesOf(layout, parseLayout(bytes.subarray(0, HEADER_BYTES))));
    if (places === undefined) return undefined;
    const map = AddressMap.from(operations, start, old.length, layout, places);
    return map === undefined ? undefined : new Addresses(map, layout, places);
  }

  async *#body(
    operations: Operations,
    contents: ReadonlyMap<number, Buffer>,
    bytes: Buffer,
    addresses: Addresses | undefined,
    signal: AbortSignal | undefined,
  ): AsyncGenerator<Buffer> {
    const window = this.#window;
    const codec = this.#codec;
    let target = 0;
    for (let at = 0; at < operations.count; at++) {
      const copied = operations.copy(at);
      const file = copied === 0 ? -1 : this.#old.indexAt(operations.old(at));
      const old = contents.get(file) ?? NOTHING;
      const from = operations.old(at) - (this.#old.starts[file] ?? 0);
      for (let done = 0; done < copied; done += PIECE) {
        const length = Math.min(PIECE, copied - done);
        fill(window.needed(length), old, from + done);
        window.actual.set(bytes.subarray(target, target + length), LOOK_BACK);
        codec.codeCopy(window, length, from + done, target, addresses);
        codec.keep(window, length);
        target += length;
        yield* this.#frameEnd(signal);
      }
      const literal = operations.literal(at);
      if (literal > 0 && copied > 0) codec.learn(old.subarray(Math.max(0, from + copied - NEIGHBOURS), from + copied + NEIGHBOURS));
      for (let done = 0; done < literal; done += PIECE) {
        const length = Math.min(PIECE, literal - done);
        if (copied === 0) window.needed(length).fill(0);
        else fill(window.needed(length), old, from + copied + done);
        window.actual.set(bytes.subarray(target, target + length), LOOK_BACK);
        codec.codeLiteral(window, length);
        codec.keep(window, length);
        target += length;
        yield* this.#frameEnd(signal);
      }
    }
  }

  *#frameEnd(signal?: AbortSignal): Generator<Buffer> {
    if (this.#codec.codeFrameEnd(this.#encoder.length >= FRAME)) {
      signal?.throwIfAborted();
      yield frame(this.#encoder);
    }
  }
}

function frame(encoder: ArithmeticEncoder): Buffer {
  const coded = encoder.end();
  return Buffer.concat([writeVarint(coded.length), coded]);
}

async function readAll({ path, size, reader }: TreeFile): Promise<Buffer> {
  if (size > MAX_PATCH_FILE) throw new WardcastError('LIMIT_EXCEEDED', `${path} has ${size} bytes, more than the ${MAX_PATCH_FILE} that a patch is made for`);
  const bytes = Buffer.allocUnsafeSlow(size);
  if (size > 0) await reader.read(bytes, 0);
  return bytes;
}

/** The bytes from `position` - LOOK_BACK on, zeros where the file has none. */
function fill(window: Uint8Array, old: Uint8Array, position: number): void {
  const from = position - LOOK_BACK;
  const first = Math.min(window.length, Math.max(0, -from));
  const last = Math.max(first, Math.min(window.length, old.length - from));
  window.fill(0, 0, first);
  window.set(old.subarray(from + first, from + last), first);
  window.fill(0, last);
}

function placesOf(old: Layout, layout: Layout | undefined): Place[] | undefined {
  if (layout === undefined || layout.machine !== old.machine || layout.segments.length !== old.segments.length) return undefined;
  return layout.segments.map(({ offset, size, address }) => ({ offset, size, address }));
}

/** As many operations as a patch may have; what is beyond becomes literal. */
function within(operations: Operations, size: number): Operations {
  if (operations.count <= MAX_PATCH_OPERATIONS) return operations;
  const fewer = new Operations();
  let at = 0;
  for (let i = 0; i < MAX_PATCH_OPERATIONS; i++) {
    at += operations.copy(i) + operations.literal(i);
    const rest = i === MAX_PATCH_OPERATIONS - 1 ? size - at : 0;
    fewer.add(operations.old(i), operations.copy(i), operations.literal(i) + rest);
  }
  return fewer;
}
