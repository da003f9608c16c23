import { WardcastError } from '../shared/base/errors.ts';

/**
 * The few bytes of DER (ITU-T X.690) that node:crypto does not show: extensions of a certificate it has already parsed.
 * Strict: definite minimal lengths, one-byte tags, nothing left over.
 */
export interface DerNode {
  readonly tag: number;
  readonly value: Buffer;
  /** Tag, length and value: what a signature covers. */
  readonly raw: Buffer;
}

export const TAG = {
  boolean: 0x01,
  integer: 0x02,
  bitString: 0x03,
  octetString: 0x04,
  null: 0x05,
  oid: 0x06,
  sequence: 0x30,
  attributes: 0xa0,
  uri: 0x86,
  extensions: 0xa3,
} as const;

/** The values that lie one after the other in `bytes`. @throws CERT_INVALID */
export function readDer(bytes: Buffer): DerNode[] {
  const nodes: DerNode[] = [];
  let at = 0;
  while (at < bytes.length) {
    const tag = byteAt(bytes, at);
    if ((tag & 0x1f) === 0x1f) throw malformed('a tag of more than one byte');
    const { length, size } = readLength(bytes, at + 1);
    const start = at + 1 + size;
    if (start + length > bytes.length) throw malformed('a value longer than what contains it');
    nodes.push({ tag, value: bytes.subarray(start, start + length), raw: bytes.subarray(at, start + length) });
    at = start + length;
  }
  return nodes;
}

/** The children of the one value that fills `bytes`, which must have `tag`. @throws CERT_INVALID */
export function readOnly(bytes: Buffer, tag: number): Buffer {
  const [node, ...rest] = readDer(bytes);
  if (node === undefined || rest.length > 0 || node.tag !== tag) throw malformed(`not exactly one value with tag ${tag}`);
  return node.value;
}

function readLength(bytes: Buffer, at: number): { length: number; size: number } {
  const first = byteAt(bytes, at);
  if (first < 0x80) return { length: first, size: 1 };
  const count = first & 0x7f;
  if (count === 0 || count > 3) throw malformed('an indefinite or huge length');
  let length = 0;
  for (let i = 1; i <= count; i++) length = length * 256 + byteAt(bytes, at + i);
  if (length < 0x80 || length < 256 ** (count - 1)) throw malformed('a length that is not minimal');
  return { length, size: 1 + count };
}

function byteAt(bytes: Buffer, at: number): number {
  const byte = bytes[at];
  if (byte === undefined) throw malformed('cut off');
  return byte;
}

export function malformed(what: string, cause?: unknown): WardcastError {
  return new WardcastError('CERT_INVALID', `A certificate is malformed: ${what}`, {
    remedy: 'Issue the certificate anew with `wardcast pki`.',
    ...(cause === undefined ? {} : { cause }),
  });
}
