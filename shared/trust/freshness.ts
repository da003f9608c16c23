import { inspectMetadata } from './inspect.ts';

/** By the timestamp's bytes, which are asked about with every chunk. */
const known = new WeakMap<Buffer, number>();

/**
 * Until when a verified view may be acted upon for others: the expiry of its timestamp, milliseconds since 1970. Whoever has heard nothing since cannot know
 * who was revoked meanwhile. A verified view always has a timestamp.
 */
export function freshUntil(metadata: ReadonlyMap<string, Buffer>): number {
  const timestamp = metadata.get('timestamp.json');
  if (timestamp === undefined) return Number.POSITIVE_INFINITY;
  const found = known.get(timestamp) ?? inspectMetadata('timestamp', timestamp).expires.getTime();
  known.set(timestamp, found);
  return found;
}
