import type { OldTree } from './tree.ts';

/** Bytes of an old file that are read at once, and how many such blocks are kept: 8 MiB. */
const BLOCK = 256 * 1024;
const BLOCKS = 32;

/** Old files read in place: a few recently used blocks, whatever the size of the release. */
export class OldWindow {
  readonly #tree: OldTree;
  /** By `file × 2^36 + block`, the least recently used first. */
  readonly #blocks = new Map<number, Uint8Array>();

  constructor(tree: OldTree) {
    this.#tree = tree;
  }

  /** Fills `target` with the old file's bytes from `position` on, zeros where it has none. A promise only when something must be read. */
  fill(target: Uint8Array, file: number, position: number): Promise<void> | undefined {
    const size = this.#tree.files[file]?.size ?? 0;
    const first = Math.min(target.length, Math.max(0, -position));
    const last = Math.max(first, Math.min(target.length, size - position));
    target.fill(0, 0, first);
    target.fill(0, last);
    for (let at = first; at < last; ) {
      const block = Math.floor((position + at) / BLOCK);
      const bytes = this.#cached(file, block);
      if (bytes === undefined) return this.#load(file, block).then(() => this.fill(target, file, position));
      const offset = position + at - block * BLOCK;
      const step = Math.min(last - at, bytes.length - offset);
      target.set(bytes.subarray(offset, offset + step), at);
      at += step;
    }
    return undefined;
  }

  #cached(file: number, block: number): Uint8Array | undefined {
    const key = file * 2 ** 36 + block;
    const bytes = this.#blocks.get(key);
    if (bytes !== undefined && this.#blocks.size > BLOCKS / 2) {
      this.#blocks.delete(key);
      this.#blocks.set(key, bytes);
    }
    return bytes;
  }

  async #load(file: number, block: number): Promise<void> {
    const source = this.#tree.files[file];
    if (source === undefined) return;
    // A block that makes room gives its memory to the next: one fresh buffer per read would leave the collector far behind.
    const [oldest] = this.#blocks.size >= BLOCKS ? this.#blocks : [];
    if (oldest !== undefined) this.#blocks.delete(oldest[0]);
    const length = Math.min(BLOCK, source.size - block * BLOCK);
    const buffer =
      oldest !== undefined && oldest[1].buffer.byteLength === BLOCK
        ? new Uint8Array(oldest[1].buffer, 0, length)
        : new Uint8Array(new ArrayBuffer(BLOCK), 0, length);
    await source.reader.read(buffer, block * BLOCK);
    this.#blocks.set(file * 2 ** 36 + block, buffer);
  }
}
