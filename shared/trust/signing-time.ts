import { TIMESTAMP_LIFETIME_DAYS } from '../base/limits.ts';
import type { GroupView } from './group-view.ts';
import { inspectMetadata } from './inspect.ts';

const DAY = 86_400_000;

/** The latest instant before which the provider cannot have signed a verified view: no timestamp lives longer than the lifetime. Milliseconds since 1970. */
export function notSignedBefore(view: Pick<GroupView, 'metadata'>): number | undefined {
  const timestamp = view.metadata.get('timestamp.json');
  return timestamp === undefined ? undefined : inspectMetadata('timestamp', timestamp).expires.getTime() - TIMESTAMP_LIFETIME_DAYS * DAY;
}
