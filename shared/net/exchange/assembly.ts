import { WardcastError } from '../../base/errors.ts';

/** An object on its way in parts, in any order, each once or more; never holds more than `max` bytes. */
export class Assembly {
  readonly #max: number;
  readonly #parts: number;
  readonly #received = new Map<number, Buffer>();
  #bytes = 0;

  constructor(parts: number, max: number) {
    this.#parts = parts;
    this.#max = max;
  }

  get parts(): number {
    return this.#parts;
  }

  /** Bytes it holds. */
  get bytes(): number {
    return this.#bytes;
  }

  /** The whole object when this was the last missing part. A single part is passed on as it is, uncopied. @throws LIMIT_EXCEEDED */
  add(part: number, bytes: Buffer): Buffer | undefined {
    if (this.#received.has(part)) return undefined;
    // Parts without content would be free: a million of them must not be.
    if (this.#bytes + bytes.length > this.#max || (bytes.length === 0 && this.#parts > 1)) {
      throw new WardcastError('LIMIT_EXCEEDED', `An object has more than the ${this.#max} bytes it may have, or is cut into empty parts`, {
        context: { max: this.#max, parts: this.#parts },
      });
    }
    this.#bytes += bytes.length;
    if (this.#parts === 1) return bytes;
    this.#received.set(part, bytes);
    if (this.#received.size < this.#parts) return undefined;
    return Buffer.concat(Array.from({ length: this.#parts }, (_, index) => this.#received.get(index) ?? Buffer.alloc(0)));
  }
}
