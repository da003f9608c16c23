import { hash } from 'node:crypto';

/** SHA-256 as 64 lower-case hex digits: the name of every chunk, manifest and bundle. */
export function sha256(bytes: Uint8Array): string {
  return hash('sha256', bytes, 'hex');
}

/** True for the form `sha256` returns. */
export function isSha256(text: string): boolean {
  return /^[0-9a-f]{64}$/.test(text);
}
