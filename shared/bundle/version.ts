import semver from 'semver';
import { MAX_VERSION } from '../base/limits.ts';

/**
 * A release's version: semver 2.0, strictly. Build metadata (`+…`) is refused: it takes no part in precedence,
 * so whether `1.0.0+b` is older or newer than `1.0.0+a` could not be told.
 */
export function isVersion(text: string): boolean {
  return text.length <= MAX_VERSION && semver.valid(text) === text;
}

/** Below 0: `a` is older than `b`. Both must satisfy isVersion. */
export function compareVersions(a: string, b: string): -1 | 0 | 1 {
  return semver.compare(a, b);
}
