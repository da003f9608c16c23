import { systemCode, WardcastError } from '../base/errors.ts';

const REMEDIES: Readonly<Record<string, string>> = {
  ENOSPC: 'Free space on this file system, or move the data directory to a larger one; the work goes on by itself afterwards.',
  EDQUOT: 'Raise the disk quota of the account the daemon runs as, or free space under it.',
  EROFS: 'The file system is mounted read-only: check the disk (`dmesg`), repair it and mount it read-write.',
  EIO: 'The disk reports errors: check it (`dmesg`, `smartctl -a`) and replace it if need be.',
  EACCES: 'Give the account the daemon runs as read and write permission to this path.',
  EPERM: 'Give the account the daemon runs as read and write permission to this path.',
  EMFILE: 'Raise the limit of open files (`LimitNOFILE=` in the unit, `ulimit -n` in a shell).',
  LEVEL_LOCKED: 'Another process uses this directory: stop it first, or give this daemon a data directory of its own.',
};

/** Wraps what the disk or the database threw: which path, why, what to do about it. What is coded already passes through. */
export function storageFailed(error: unknown, what: string, path: string): WardcastError {
  if (error instanceof WardcastError) return error;
  const code = deepestCode(error);
  const remedy = code === undefined ? undefined : REMEDIES[code];
  const reason = error instanceof Error ? error.message : String(error);
  return new WardcastError('STORAGE_FAILED', `${what} ${path}: ${reason}`, {
    cause: error,
    ...(remedy === undefined ? {} : { remedy }),
    context: { path, ...(code === undefined ? {} : { system: code }) },
  });
}

/** abstract-level wraps the reason (`LEVEL_DATABASE_NOT_OPEN` because of `LEVEL_LOCKED`): the innermost code is the one with a remedy. */
function deepestCode(error: unknown): string | undefined {
  let found: string | undefined;
  for (let at = error, depth = 0; at instanceof Error && depth < 5; at = at.cause, depth++) found = systemCode(at) ?? found;
  return found;
}
