/**
 * Binary arithmetic coding (Witten, Neal, Cleary: "Arithmetic Coding for Data Compression", 1987) without carries, as in M. Mahoney's
 * lpaq: both ends of the interval are 32-bit numbers, and their common leading bytes are what is written.
 *
 * Encoder and decoder share one shape, so that every model is written once: `code` takes the bit and gives it back, or, decoding,
 * ignores what it is given and says what was written.
 */
export interface BitCoder {
  /** One bit with the probability `p` that it is 1, in 65536ths, 1 to 65535. */
  code(bit: number, p: number): number;
}

export class ArithmeticEncoder implements BitCoder {
  // All 32 bits, kept as signed numbers: V8 holds those in registers, larger ones not.
  #low = 0;
  #high = -1;
  #bytes = Buffer.allocUnsafeSlow(1 << 16);
  #length = 0;

  /** Bytes written since the last `end`. */
  get length(): number {
    return this.#length;
  }

  code(bit: number, p: number): number {
    let low = this.#low;
    let high = this.#high;
    const range = high - low;
    const middle = (low + Math.imul(range >>> 16, p) + (Math.imul(range & 0xffff, p) >>> 16)) | 0;
    if (bit === 1) high = middle;
    else low = (middle + 1) | 0;
    while ((low ^ high) >>> 24 === 0) {
      this.#write(high >>> 24);
      low <<= 8;
      high = (high << 8) | 255;
    }
    this.#low = low;
    this.#high = high;
    return bit;
  }

  /** Closes the interval with as few bytes as name a number in it (zeros follow for the decoder) and starts a new one. */
  end(): Buffer {
    // The decoder reads zeros behind the last byte: a prefix of `high` with zeros behind it lies in the interval as soon as it is not below `low`.
    for (let kept = 0; kept <= 4; kept++) {
      const mask = kept === 0 ? 0 : (0xffffffff << (32 - 8 * kept)) >>> 0;
      const value = (this.#high & mask) >>> 0;
      if (value < this.#low >>> 0) continue;
      for (let byte = 0; byte < kept; byte++) this.#write((value >>> (24 - 8 * byte)) & 255);
      break;
    }
    const bytes = Buffer.from(this.#bytes.subarray(0, this.#length));
    this.#low = 0;
    this.#high = -1;
    this.#length = 0;
    return bytes;
  }

  #write(byte: number): void {
    if (this.#length === this.#bytes.length) {
      const larger = Buffer.allocUnsafeSlow(2 * this.#length);
      larger.set(this.#bytes);
      this.#bytes = larger;
    }
    this.#bytes[this.#length++] = byte;
  }
}

export class ArithmeticDecoder implements BitCoder {
  #low = 0;
  #high = -1;
  #value = 0;
  #bytes: Uint8Array = new Uint8Array(0);
  #at = 0;

  /** Goes on with what one `end` of the encoder gave. */
  start(bytes: Uint8Array): void {
    this.#low = 0;
    this.#high = -1;
    this.#bytes = bytes;
    this.#at = 0;
    this.#value = 0;
    for (let byte = 0; byte < 4; byte++) this.#value = (this.#value << 8) | this.#next();
  }

  /** Bytes that were asked for beyond the last one. An honest stream needs at most four. */
  get missing(): number {
    return Math.max(0, this.#at - this.#bytes.length);
  }

  /** Bytes that nothing has asked for. An honest stream leaves none. */
  get left(): number {
    return Math.max(0, this.#bytes.length - this.#at);
  }

  code(_bit: number, p: number): number {
    let low = this.#low;
    let high = this.#high;
    const range = high - low;
    const middle = (low + Math.imul(range >>> 16, p) + (Math.imul(range & 0xffff, p) >>> 16)) | 0;
    let bit = 0;
    if (this.#value >>> 0 <= middle >>> 0) {
      bit = 1;
      high = middle;
    } else low = (middle + 1) | 0;
    while ((low ^ high) >>> 24 === 0) {
      low <<= 8;
      high = (high << 8) | 255;
      this.#value = (this.#value << 8) | this.#next();
    }
    this.#low = low;
    this.#high = high;
    return bit;
  }

  #next(): number {
    return this.#bytes[this.#at++] ?? 0;
  }
}
