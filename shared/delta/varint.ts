/** Whole numbers up to 2^53 - 1, seven bits a byte, lowest first, the top bit set on all but the last (LEB128). */
export function writeVarint(value: number): Buffer {
  const bytes: number[] = [];
  let rest = value;
  while (rest > 127) {
    bytes.push((rest % 128) | 128);
    rest = Math.floor(rest / 128);
  }
  bytes.push(rest);
  return Buffer.from(bytes);
}

/** Bytes of the longest varint. */
export const MAX_VARINT = 8;
