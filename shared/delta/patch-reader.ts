import { WardcastError } from '../base/errors.ts';
import { MAX_VARINT } from './varint.ts';

/** Reads a patch as it arrives. Holds what was asked for and the rest of one arrived part. */
export class PatchReader {
  readonly #parts: AsyncIterator<Uint8Array>;
  #part: Uint8Array = new Uint8Array(0);
  #at = 0;

  constructor(patch: AsyncIterable<Uint8Array>) {
    this.#parts = patch[Symbol.asyncIterator]();
  }

  /** @throws PATCH_INVALID when the patch ends before */
  async take(length: number): Promise<Uint8Array> {
    if (this.#part.length - this.#at >= length) {
      this.#at += length;
      return this.#part.subarray(this.#at - length, this.#at);
    }
    const bytes = Buffer.allocUnsafeSlow(length);
    let got = 0;
    while (got < length) {
      if (this.#at === this.#part.length && !(await this.#more())) throw invalid('it is cut off');
      const step = Math.min(length - got, this.#part.length - this.#at);
      bytes.set(this.#part.subarray(this.#at, this.#at + step), got);
      this.#at += step;
      got += step;
    }
    return bytes;
  }

  /** @throws PATCH_INVALID for a number that is cut off, too long or not in its shortest form */
  async takeVarint(): Promise<number> {
    let value = 0;
    for (let place = 0; place < MAX_VARINT; place++) {
      const byte = (await this.take(1))[0] ?? 0;
      value += (byte & 127) * 2 ** (7 * place);
      if (byte >= 128) continue;
      if ((byte === 0 && place > 0) || !Number.isSafeInteger(value)) break;
      return value;
    }
    throw invalid('a number in it is malformed');
  }

  /** @throws PATCH_INVALID when anything follows */
  async end(): Promise<void> {
    if (this.#at < this.#part.length || (await this.#more())) throw invalid('something follows its end');
  }

  /** Lets the source go, whatever it still has. */
  async close(): Promise<void> {
    await this.#parts.return?.();
  }

  async #more(): Promise<boolean> {
    for (;;) {
      const next = await this.#parts.next();
      if (next.done === true) return false;
      if (next.value.length === 0) continue;
      this.#part = next.value;
      this.#at = 0;
      return true;
    }
  }
}

export function invalid(why: string): WardcastError {
  return new WardcastError('PATCH_INVALID', `The patch is unusable: ${why}`, { remedy: 'Fetch the files themselves instead.' });
}
