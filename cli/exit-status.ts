import type { ErrorCode } from '../shared/base/errors.ts';

/** The exit status of every command; the table is printed by `wardcast --help`. */
export const EXIT = {
  ok: 0,
  failed: 1,
  usage: 2,
  refused: 3,
  unreachable: 4,
  differences: 5,
  interrupted: 130,
} as const;

export const EXIT_MEANINGS: readonly (readonly [number, string])[] = [
  [EXIT.ok, 'done'],
  [EXIT.failed, 'failed; the message says why and what to do'],
  [EXIT.usage, 'the command line or a configuration file is not usable'],
  [EXIT.refused, 'refused: not entitled, not trusted or against a rule'],
  [EXIT.unreachable, 'the other side could not be reached or did not answer in time'],
  [EXIT.differences, 'a check ran to its end and found something wrong'],
  [EXIT.interrupted, 'interrupted (Ctrl-C)'],
];

const UNREACHABLE: ReadonlySet<ErrorCode> = new Set<ErrorCode>(['CONNECTION_FAILED', 'CONNECTION_LOST', 'TIMEOUT', 'OBJECT_TIMEOUT', 'BUSY', 'TLS_FAILED']);
const REFUSED: ReadonlySet<ErrorCode> = new Set<ErrorCode>([
  'DENIED',
  'TRUST_ROOT_WRONG',
  'SERVER_NAME_WRONG',
  'TLS_EXPECTED',
  'SIGNATURE_INVALID',
  'BUNDLE_SCOPE',
  'RELEASE_REFUSED',
  'DOWNGRADE_REFUSED',
  'CONFLICT',
]);

export function exitStatus(code: ErrorCode): number {
  if (code === 'USAGE' || code === 'CONFIG_INVALID') return EXIT.usage;
  if (code === 'ABORTED') return EXIT.interrupted;
  if (code === 'REGISTRY_DIVERGED' || code === 'LOG_BROKEN') return EXIT.differences;
  if (UNREACHABLE.has(code)) return EXIT.unreachable;
  if (REFUSED.has(code) || code.startsWith('CERT_') || code.startsWith('METADATA_')) return EXIT.refused;
  return EXIT.failed;
}
