import { type ErrorCode, WardcastError } from '../../shared/base/errors.ts';

/** Reasons that pass by themselves or by somebody's hand outside this device: tried again with growing pauses. */
const PASSING: ReadonlySet<string> = new Set<ErrorCode>([
  'CONNECTION_FAILED',
  'CONNECTION_LOST',
  'TLS_FAILED',
  'OBJECT_ABSENT',
  'OBJECT_TIMEOUT',
  'CONTENT_KEY_ABSENT',
  'TIMEOUT',
  'PROTOCOL_VIOLATION',
  'BUSY',
  'HASH_MISMATCH',
  'SPACE_SHORT',
  'STORAGE_FAILED',
]);

/** Of those, what the vendor should hear of although the agent goes on trying. */
const REPORTED: ReadonlySet<ErrorCode> = new Set<ErrorCode>(['SPACE_SHORT', 'HASH_MISMATCH', 'STORAGE_FAILED']);

export function isPassing(error: unknown): boolean {
  return error instanceof WardcastError && isPassingCode(error.code);
}

export function isPassingCode(code: string): boolean {
  return PASSING.has(code);
}

export function isReported(error: WardcastError): boolean {
  return REPORTED.has(error.code);
}
