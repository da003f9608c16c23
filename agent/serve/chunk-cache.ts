/** The verified chunks that were used last, up to a number of bytes: what was just received is what peers ask for. */
export class ChunkCache {
  readonly #capacity: number;
  readonly #chunks = new Map<string, Buffer>();
  #bytes = 0;

  /** @param capacity bytes */
  constructor(capacity: number) {
    this.#capacity = capacity;
  }

  get(hash: string): Buffer | undefined {
    const bytes = this.#chunks.get(hash);
    if (bytes === undefined) return undefined;
    this.#chunks.delete(hash);
    this.#chunks.set(hash, bytes);
    return bytes;
  }

  put(hash: string, bytes: Buffer): void {
    if (this.#chunks.has(hash)) return;
    this.#chunks.set(hash, bytes);
    this.#bytes += bytes.length;
    for (const [oldest, gone] of this.#chunks) {
      if (this.#bytes <= this.#capacity) return;
      this.#chunks.delete(oldest);
      this.#bytes -= gone.length;
    }
  }

  clear(): void {
    this.#chunks.clear();
    this.#bytes = 0;
  }
}
