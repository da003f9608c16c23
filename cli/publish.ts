import { WardcastError } from '../shared/base/errors.ts';
import type { OpsClient } from '../shared/net/ops-client.ts';
import type { OpsParams, OpsResult } from '../shared/wire/ops.ts';
import type { ReadyRelease } from './workspace.ts';

/** Uploads under way at once: enough to fill a line with small files, too, and half of what the provider holds of one client (MAX_HELD_PUBLISHES). */
const UPLOADS_AT_ONCE = 128;
/** Rounds in a row in which the provider stored nothing of what it was sent, before giving up. */
const STALLED_ROUNDS = 3;

export type PublishedRelease = NonNullable<OpsResult<'release.publish'>['release']>;

/** What publishing needs of the provider. */
export interface Publisher {
  offer(release: OpsParams<'release.offer'>): Promise<OpsResult<'release.offer'>>;
  upload(hash: string, bytes: Buffer): Promise<void>;
  publish(release: OpsParams<'release.publish'>): Promise<OpsResult<'release.publish'>>;
}

export function publisher(ops: OpsClient): Publisher {
  return {
    offer: (release) => ops.call('release.offer', release),
    upload: (hash, bytes) => ops.upload(hash, bytes),
    publish: (release) => ops.call('release.publish', release),
  };
}

/**
 * Offers the release, uploads what the provider lacks, and publishes it. Safe to repeat: what is there already is not sent again.
 * @throws what the provider answers; CONFLICT when it keeps losing what was sent
 */
export async function publishRelease(
  provider: Publisher,
  release: ReadyRelease,
  options: { signal?: AbortSignal; onProgress?: (done: number, total: number) => void } = {},
): Promise<PublishedRelease> {
  const params = { application: release.application, version: release.version, manifest: release.manifest, role: release.role.toString('base64') };
  const keys = release.contentKeys.map((key) => key.toString('base64'));
  let { missing, more } = await provider.offer(params);
  let done = 0;
  // It names the manifest first, then so many chunks at a time.
  for (let stalled = 0; stalled < STALLED_ROUNDS; ) {
    options.signal?.throwIfAborted();
    const [before, total] = [done, done + missing.length + more];
    // What the manifest's share is of the whole is not known until it is there.
    const onProgress = missing[0] === release.manifest ? undefined : (now: number) => options.onProgress?.(before + now, total);
    await uploadAll(provider, release, missing, options.signal, onProgress);
    const answer = await provider.publish(keys.length === 0 ? params : { ...params, contentKeys: keys });
    if (answer.release !== null) return answer.release;
    const still = new Set(answer.missing);
    const stored = missing.filter((hash) => !still.has(hash)).length;
    stalled = stored > 0 ? 0 : stalled + 1;
    if (onProgress !== undefined) done += stored;
    ({ missing, more } = answer);
  }
  const lacks = `${missing.length + more} objects of ${release.application} ${release.version}`;
  throw new WardcastError('CONFLICT', `The provider still lacks ${lacks}, and stored nothing of what it was sent ${STALLED_ROUNDS} times`, {
    remedy: "Look into the provider's log: it cannot store what it is sent.",
  });
}

async function uploadAll(
  provider: Publisher,
  release: ReadyRelease,
  missing: readonly string[],
  signal: AbortSignal | undefined,
  onProgress: ((done: number) => void) | undefined,
): Promise<void> {
  let next = 0;
  let done = 0;
  const work = async (): Promise<void> => {
    for (let hash = missing[next++]; hash !== undefined; hash = missing[next++]) {
      signal?.throwIfAborted();
      await provider.upload(hash, await release.object(hash));
      onProgress?.(++done);
    }
  };
  await Promise.all(Array.from({ length: Math.min(UPLOADS_AT_ONCE, missing.length) }, work));
}
