import { WardcastError } from '../base/errors.ts';
import { isSha256, sha256 } from '../bundle/digest.ts';

/** Names become paths: nothing but a hash ever reaches the disk. @throws OBJECT_ABSENT */
export function checkChunkName(name: string): void {
  if (!isSha256(name)) throw new WardcastError('OBJECT_ABSENT', `${JSON.stringify(name.slice(0, 100))} is no SHA-256 in hex, so no chunk has that name`);
}

/** @throws HASH_MISMATCH */
export function checkContent(name: string, bytes: Uint8Array, from: string): void {
  const actual = sha256(bytes);
  if (actual === name) return;
  throw new WardcastError('HASH_MISMATCH', `What ${from} holds as ${name} has the hash ${actual}`, {
    remedy: 'Nothing of it was used. If it comes back, check the disk and memory of the sender.',
    context: { expected: name, actual, bytes: bytes.length },
  });
}

export function absent(name: string, where: string): WardcastError {
  return new WardcastError('OBJECT_ABSENT', `${where} has no object ${name}`, { context: { hash: name } });
}
