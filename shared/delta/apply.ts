import { WardcastError } from '../base/errors.ts';
import { MAX_PATCH_FRAME } from '../base/limits.ts';
import { AddressMap } from './address-map.ts';
import { Addresses } from './addresses.ts';
import { ArithmeticDecoder } from './arithmetic.ts';
import { HEADER_BYTES, type Layout, parseLayout } from './elf.ts';
import { OldWindow } from './old-window.ts';
import { Operations } from './operations.ts';
import { applyPacked, PACKED_MAGIC } from './packed.ts';
import { invalid, PatchReader } from './patch-reader.ts';
import { LOOK_BACK } from './residual-model.ts';
import { distinct, type NewFile, OldTree, PAIR_BYTES, pairDigest, type TreeFile } from './tree.ts';
import { MAGIC, NEIGHBOURS, OPERATIONS_AT_ONCE, PIECE, TreeCodec, Window } from './tree-codec.ts';

export interface ApplyOptions {
  /** In parts of any size. */
  readonly patch: AsyncIterable<Uint8Array>;
  /** The release that is there, in any order. */
  readonly old: readonly TreeFile[];
  /** The new files in the order they were made in: sizes and hashes from the signed manifest. */
  readonly files: readonly NewFile[];
  /**
   * Takes the bytes of file `index`, in order; they are overwritten once the promise it returns is fulfilled. Empty files give no bytes, and of files with
   * the same content only the first does. */
  readonly write: (index: number, bytes: Uint8Array) => Promise<void> | void;
  readonly signal?: AbortSignal;
  /** Files that are as the old ones are, and that nobody needs, are passed over; absent: all are given. */
  readonly needed?: (index: number) => boolean;
}

/**
 * Makes the new files out of the old ones. Never gives more or fewer bytes than the manifest says, never reads outside the old files, and needs a bounded
 * memory whatever the sizes: about 45 MiB, and up to 60 MiB more for a file of the most operations. What it gives is not verified: the caller compares it
 * with the manifest's hashes, since a damaged old file gives wrong bytes without an error.
 * @throws PATCH_WRONG_BASE when it was made for other files, PATCH_INVALID and LIMIT_EXCEEDED when it is malformed, ABORTED, and what readers and `write` throw
 */
export async function applyPatch({ patch, old, files, write, signal, needed = () => true }: ApplyOptions): Promise<void> {
  const reader = new PatchReader(patch);
  try {
    const applier = new Applier(reader, new OldTree(old), write, signal, needed);
    await applier.all(files);
  } finally {
    await reader.close();
  }
}

class Applier {
  readonly #reader: PatchReader;
  readonly #old: OldTree;
  readonly #oldWindow: OldWindow;
  readonly #write: ApplyOptions['write'];
  readonly #signal: AbortSignal | undefined;
  readonly #needed: (index: number) => boolean;
  readonly #decoder = new ArithmeticDecoder();
  readonly #codec = new TreeCodec(this.#decoder);
  readonly #window = new Window();
  readonly #copied = new Uint8Array(PIECE);
  readonly #neighbours = new Uint8Array(2 * NEIGHBOURS);
  #expected = 0;

  constructor(reader: PatchReader, old: OldTree, write: ApplyOptions['write'], signal: AbortSignal | undefined, needed: (index: number) => boolean) {
    this.#reader = reader;
    this.#old = old;
    this.#oldWindow = new OldWindow(old);
    this.#write = write;
    this.#signal = signal;
    this.#needed = needed;
  }

  async all(files: readonly NewFile[]): Promise<void> {
    const reader = this.#reader;
    const magic = Buffer.from(await reader.take(MAGIC.length));
    const packed = PACKED_MAGIC.equals(magic);
    if (!packed && !MAGIC.equals(magic)) throw invalid('it is none, or of another format');
    if (!pairDigest(this.#old, files).equals(await reader.take(PAIR_BYTES))) {
      throw new WardcastError('PATCH_WRONG_BASE', 'The patch was made for other files', { remedy: 'Fetch the files themselves instead.' });
    }
    const total = files.reduce((sum, { size }) => sum + size, 0);
    if ((await reader.takeVarint()) !== files.length || (await reader.takeVarint()) !== total) throw invalid('its counts are not those of the release');
    if (packed) {
      await applyPacked(reader, this.#old, files, this.#write);
      return;
    }
    await this.#nextFrame();
    for (const index of distinct(files)) await this.#file(index, files[index]?.size ?? 0);
    this.#frameDone();
    await reader.end();
  }

  async #file(index: number, size: number): Promise<void> {
    const codec = this.#codec;
    const base = codec.codeBase(-1, this.#expected);
    const before = this.#old.files[base];
    if (before === undefined && base !== -1) throw invalid('it names an old file that does not exist');
    if (before !== undefined) {
      this.#expected = base + 1;
      if (codec.codeIdentical(false)) {
        if (before.size !== size) throw invalid('a file it calls unchanged has another size');
        if (this.#needed(index)) await this.#copyWhole(index, base, size);
        await this.#frameEnd();
        return;
      }
    }
    const start = this.#old.starts[base] ?? 0;
    const operations = await this.#operations(start, size);
    const addresses = before === undefined ? undefined : await this.#addresses(operations, base, before, start);
    await this.#body(index, operations, base, addresses);
  }

  async #operations(start: number, size: number): Promise<Operations> {
    const operations = new Operations();
    const count = this.#codec.operations.codeCount(this.#decoder, 0);
    let total = 0;
    for (let at = 0; at < count; at++) {
      this.#codec.operations.code(this.#decoder, operations, at, start);
      const copy = operations.copy(at);
      const literal = operations.literal(at);
      total += copy + literal;
      if (copy + literal === 0 || total > size) throw invalid('its operations do not add up');
      if (copy > 0) this.#check(operations.old(at), copy);
      if (at % OPERATIONS_AT_ONCE === OPERATIONS_AT_ONCE - 1) await this.#frameEnd();
    }
    if (total !== size) throw invalid('its operations do not add up');
    return operations;
  }

  /** A copy lies within one old file. */
  #check(old: number, copy: number): void {
    const file = this.#old.indexAt(old);
    if (file === -1 || old + copy > (this.#old.starts[file] ?? 0) + (this.#old.files[file]?.size ?? 0)) throw invalid('it copies from outside the old files');
  }

  async #addresses(operations: Operations, base: number, before: TreeFile, start: number): Promise<Addresses | undefined> {
    const head = new Uint8Array(Math.min(HEADER_BYTES, before.size));
    await this.#oldWindow.fill(head, base, 0);
    const layout: Layout | undefined = parseLayout(head);
    const places = layout === undefined ? undefined : this.#codec.codePlaces(layout, undefined);
    if (layout === undefined || places === undefined) return undefined;
    const map = AddressMap.from(operations, start, before.size, layout, places);
    return map === undefined ? undefined : new Addresses(map, layout, places);
  }

  async #body(index: number, operations: Operations, base: number, addresses: Addresses | undefined): Promise<void> {
    const window = this.#window;
    const codec = this.#codec;
    let target = 0;
    for (let at = 0; at < operations.count; at++) {
      const copied = operations.copy(at);
      const file = copied === 0 ? -1 : this.#old.indexAt(operations.old(at));
      const from = operations.old(at) - (this.#old.starts[file] ?? 0);
      for (let done = 0; done < copied; done += PIECE) {
        const length = Math.min(PIECE, copied - done);
        const read = this.#oldWindow.fill(window.needed(length), file, from + done - LOOK_BACK);
        if (read !== undefined) await read;
        codec.codeCopy(window, length, from + done, target, file === base ? addresses : undefined);
        target += length;
        await this.#given(index, length);
      }
      const literal = operations.literal(at);
      if (literal > 0 && copied > 0) await this.#learn(file, from + copied);
      for (let done = 0; done < literal; done += PIECE) {
        const length = Math.min(PIECE, literal - done);
        const read = this.#oldWindow.fill(window.needed(length), file, from + copied + done - LOOK_BACK);
        if (read !== undefined) await read;
        codec.codeLiteral(window, length);
        target += length;
        await this.#given(index, length);
      }
    }
  }

  async #learn(file: number, position: number): Promise<void> {
    const first = Math.max(0, position - NEIGHBOURS);
    const last = Math.min(this.#old.files[file]?.size ?? 0, position + NEIGHBOURS);
    const neighbours = this.#neighbours.subarray(0, last - first);
    const read = this.#oldWindow.fill(neighbours, file, first);
    if (read !== undefined) await read;
    this.#codec.learn(neighbours);
  }

  async #given(index: number, length: number): Promise<void> {
    if (this.#decoder.missing > 4) throw invalid('it is cut off or damaged');
    await this.#write(index, this.#window.piece(length));
    this.#codec.keep(this.#window, length);
    await this.#frameEnd();
  }

  async #copyWhole(index: number, base: number, size: number): Promise<void> {
    for (let at = 0; at < size; at += PIECE) {
      this.#signal?.throwIfAborted();
      const piece = this.#copied.subarray(0, Math.min(PIECE, size - at));
      await this.#oldWindow.fill(piece, base, at);
      await this.#write(index, piece);
    }
  }

  async #frameEnd(): Promise<void> {
    if (!this.#codec.codeFrameEnd(false)) return;
    this.#frameDone();
    await this.#nextFrame();
  }

  #frameDone(): void {
    if (this.#decoder.missing > 4 || this.#decoder.left > 0) throw invalid('a frame does not end where it should');
  }

  async #nextFrame(): Promise<void> {
    this.#signal?.throwIfAborted();
    const length = await this.#reader.takeVarint();
    if (length > MAX_PATCH_FRAME) throw new WardcastError('LIMIT_EXCEEDED', `A frame of the patch has ${length} bytes, more than ${MAX_PATCH_FRAME}`);
    this.#decoder.start(await this.#reader.take(length));
  }
}
