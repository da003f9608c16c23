/**
 * Credit: how much may be asked for and not yet be here, in bytes and objects. Pure bookkeeping.
 * One object may always be on its way, however large, or it could never be had.
 */
export class CreditWindow {
  #maxBytes: number;
  readonly #maxObjects: number;
  #bytes = 0;
  #objects = 0;

  constructor({ bytes, objects }: { readonly bytes: number; readonly objects: number }) {
    this.#maxBytes = bytes;
    this.#maxObjects = objects;
  }

  /** The bytes that may be out from now on; what is out stays out. */
  resize(bytes: number): void {
    this.#maxBytes = bytes;
  }

  /** Is there credit for an object of this size? */
  fits(size: number): boolean {
    return this.#objects === 0 || (this.#objects + 1 <= this.#maxObjects && this.#bytes + size <= this.#maxBytes);
  }

  /** Takes credit for an object of this size; false: there is none. */
  take(size: number): boolean {
    if (!this.fits(size)) return false;
    this.#objects += 1;
    this.#bytes += size;
    return true;
  }

  /** The object is here, or will not come. */
  give(size: number): void {
    this.#objects -= 1;
    this.#bytes -= size;
  }

  /**
   * Is there enough credit that asking is worth a message? With a sixteenth of the window per message the line never runs dry, answers come in
   * no bursts, and there is not one message for each small object.
   */
  get worthAsking(): boolean {
    return this.#objects === 0 || (this.#bytes <= this.#maxBytes * (15 / 16) && this.#objects <= this.#maxObjects * (15 / 16));
  }

  get bytes(): number {
    return this.#bytes;
  }

  get objects(): number {
    return this.#objects;
  }
}
