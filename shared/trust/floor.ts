import type { Metadata, Root } from '@tufjs/models';
import { WardcastError } from '../base/errors.ts';

/** The ids of the keys that a root trusts for the two roles whose rotation lifts floors. */
export interface OnlineKeys {
  readonly timestamp: readonly string[];
  readonly snapshot: readonly string[];
}

/** What was trusted once: versions by role, and under which keys. */
export interface VersionFloor {
  readonly versions: Readonly<Record<string, number>>;
  readonly online?: OnlineKeys | undefined;
}

export function onlineKeysOf(root: Metadata<Root>): OnlineKeys {
  const ids = (role: string): string[] => [...(root.signed.roles[role]?.keyIDs ?? [])].sort();
  return { timestamp: ids('timestamp'), snapshot: ids('snapshot') };
}

/** Whether a key that signed timestamp or snapshot then is trusted for it no more (5.3.11). A key that was only added lowers nothing. */
export function isRotated(floor: VersionFloor, now: OnlineKeys): boolean {
  const gone = (then: readonly string[], trusted: readonly string[]): boolean => then.some((id) => !trusted.includes(id));
  return floor.online !== undefined && (gone(floor.online.timestamp, now.timestamp) || gone(floor.online.snapshot, now.snapshot));
}

/** The refusal when a recorded version would be lowered; rotated online keys may lower all but the root: so a stolen one is recovered from. */
export function goneBack(floor: VersionFloor, versions: Readonly<Record<string, number>>, now: OnlineKeys): WardcastError | undefined {
  const rotated = isRotated(floor, now);
  for (const [role, version] of Object.entries(versions)) {
    const least = rotated && role !== 'root' ? 0 : (floor.versions[role] ?? 0);
    if (version < least) return new WardcastError('METADATA_ROLLBACK', `The ${role} metadata has version ${version}, but ${least} was trusted already`);
  }
  return undefined;
}
