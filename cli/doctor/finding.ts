import { isWardcastError, toWardcastError } from '../../shared/base/errors.ts';

/** One line of a doctor's report. */
export interface Finding {
  readonly state: 'ok' | 'warn' | 'fail';
  /** What was looked at: config, certificate, clock, reach, disk, lan … */
  readonly what: string;
  readonly message: string;
  readonly remedy?: string;
  readonly code?: string;
}

export function ok(what: string, message: string): Finding {
  return { state: 'ok', what, message };
}

export function warn(what: string, message: string, remedy: string): Finding {
  return { state: 'warn', what, message, remedy };
}

/** What a thrown error says, as a finding. */
export function fail(what: string, error: unknown): Finding {
  const known = toWardcastError(error, 'INTERNAL', 'It could not be examined');
  const remedy = known.remedy ?? (isWardcastError(error) ? undefined : 'The message says what the system refused.');
  return { state: 'fail', what, message: known.message, code: known.code, ...(remedy === undefined ? {} : { remedy }) };
}
