import { ERROR_CODES, type ErrorCode, WardcastError } from '../base/errors.ts';

/** tuf-js 5.0 tells reasons apart by text alone once it has wrapped them (`RuntimeError`), so text it is; a test holds every line. */
const REASONS: readonly (readonly [RegExp, ErrorCode])[] = [
  [/less than current version|Missing file .* in new snapshot/, 'METADATA_ROLLBACK'],
  [/is expired/, 'METADATA_EXPIRED'],
  [
    /signed by \d+\/\d+ keys|Expected (?:length|hash|version|')|match (?:snapshot version|timestamp)|Missing .* in snapshot|no delegation found|No delegations found|Cannot read properties/,
    'METADATA_UNTRUSTED',
  ],
];

/** What tuf-js refused, as a coded error. */
export function fromTufError(error: unknown): WardcastError {
  const reason = error instanceof Error ? error.message : String(error);
  const code = REASONS.find(([pattern]) => pattern.test(reason))?.[1] ?? 'METADATA_INVALID';
  return new WardcastError(code, `${ERROR_CODES[code]}: ${reason.slice(0, 500)}`, {
    cause: error,
    remedy: REMEDIES[code] ?? 'Look at who delivered it: nothing of it was used.',
  });
}

const REMEDIES: Partial<Record<ErrorCode, string>> = {
  METADATA_EXPIRED: 'Check the clock of this machine; if it is right, the line to the provider was down for too long or somebody replays old metadata.',
  METADATA_ROLLBACK: 'Somebody replays old metadata, or the provider was restored from an old backup: let it sign higher versions.',
};
