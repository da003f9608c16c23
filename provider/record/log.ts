import { createHash } from 'node:crypto';
import { WardcastError } from '../../shared/base/errors.ts';
import { canonicalJson } from '../../shared/bundle/canonical.ts';
import type { Change } from '../registry/changes.ts';

/** One entry of the hash-chained log. Sequences start at 1 and have no gaps. */
export interface LogEntry {
  readonly sequence: number;
  /** sha256(hash of the entry before ‖ canonical JSON of {sequence, at, actor, change}), in hex. */
  readonly hash: string;
  /** RFC 3339, the provider's clock. */
  readonly at: string;
  /** Identity path of whoever caused the change: an operator, a device or the provider itself. */
  readonly actor: string;
  readonly change: Change;
}
/** The end of the log. */
export interface Head {
  readonly sequence: number;
  readonly hash: string;
}
/** Before the first entry. */
export const EMPTY: Head = { sequence: 0, hash: '0'.repeat(64) };

/** The entry that follows `head`. */
export function chain(head: Head, what: { readonly at: string; readonly actor: string; readonly change: Change }): LogEntry {
  const { at, actor, change } = what;
  const sequence = head.sequence + 1;
  return { sequence, hash: entryHash(head.hash, { sequence, at, actor, change }), at, actor, change };
}

/** Does `entry` follow `head` untouched? @throws LOG_BROKEN */
export function checkLink(head: Head, entry: LogEntry): void {
  if (entry.sequence !== head.sequence + 1) throw broken(head.sequence + 1, `entry ${head.sequence + 1} is missing: ${entry.sequence} stands in its place`);
  if (entry.hash !== entryHash(head.hash, entry))
    throw broken(entry.sequence, `entry ${entry.sequence} does not have the hash that its content and the entry before it give`);
}

export function broken(sequence: number, why: string): WardcastError {
  return new WardcastError('LOG_BROKEN', `The log does not verify: ${why}`, {
    // No cutting off: what stands there was acknowledged, see provider/registry/log-end.ts.
    remedy:
      'The database was altered or damaged: stop the provider, keep the data directory for examination, and restore the last good backup. Devices then state anew what they run. Cut nothing off: every entry was acknowledged.',
    context: { sequence },
  });
}

function entryHash(previous: string, { sequence, at, actor, change }: Omit<LogEntry, 'hash'>): string {
  return createHash('sha256').update(Buffer.from(previous, 'hex')).update(canonicalJson({ sequence, at, actor, change })).digest('hex');
}
