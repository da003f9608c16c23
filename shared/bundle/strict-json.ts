import { z } from 'zod';
import { type ErrorCode, WardcastError } from '../base/errors.ts';
import { isId } from '../base/identity.ts';
import { isSha256 } from './digest.ts';
import { isVersion } from './version.ts';

/** Parts of the formats' schemas, and the one way in which their bytes become values. */
export const IdText = z.string().refine(isId, 'is no id (a DNS label: a–z, 0–9 and inner hyphens, at most 63)');
export const HashText = z.string().refine(isSha256, 'is no SHA-256 (64 lower-case hex digits)');
export const VersionText = z.string().refine(isVersion, 'is no version (semver 2.0 without build metadata)');

/** @throws LIMIT_EXCEEDED; `code` when it is no UTF-8 JSON */
export function parseJson(bytes: Buffer, maxBytes: number, code: ErrorCode, what: string): unknown {
  if (bytes.length > maxBytes) {
    throw new WardcastError('LIMIT_EXCEEDED', `The ${what} has ${bytes.length} bytes, more than the ${maxBytes} that are allowed`);
  }
  try {
    const parsed: unknown = JSON.parse(new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes));
    return parsed;
  } catch (cause) {
    throw new WardcastError(code, `The ${what} is no JSON in UTF-8`, { cause });
  }
}

/** @throws `code` with the first place that does not fit */
export function checkShape<T extends z.ZodType>(schema: T, value: unknown, code: ErrorCode, what: string): z.output<T> {
  const result = schema.safeParse(value);
  if (result.success) return result.data;
  const issue = result.error.issues[0];
  const where = issue === undefined || issue.path.length === 0 ? 'it' : issue.path.map(String).join('.').slice(0, 200);
  throw new WardcastError(code, `The ${what} is malformed at ${where}: ${issue?.message ?? 'unknown reason'}`);
}
