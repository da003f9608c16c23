import { WardcastError } from '../shared/base/errors.ts';
import type { OpsClient } from '../shared/net/ops-client.ts';
import type { OpsParams, OpsResult } from '../shared/wire/ops.ts';
import type { ReadyRelease } from './workspace.ts';

/** Uploads under way at once: enough to fill a line, little enough to stay below the provider's queue. */
const UPLOADS_AT_ONCE = 16;
/** Times the provider may find something still missing after everything was sent. */
const ROUNDS = 3;

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
  let { missing } = await provider.offer(params);
  for (let round = 0; round < ROUNDS; round++) {
    await uploadAll(provider, release, missing, options);
    const answer = await provider.publish(params);
    if (answer.release !== null) return answer.release;
    missing = answer.missing;
  }
  throw new WardcastError(
    'CONFLICT',
    `The provider still lacks ${missing.length} objects of ${release.application} ${release.version} after ${ROUNDS} rounds`,
    {
      remedy: "Look into the provider's log: it cannot store what it is sent.",
    },
  );
}

async function uploadAll(
  provider: Publisher,
  release: ReadyRelease,
  missing: readonly string[],
  { signal, onProgress }: { signal?: AbortSignal; onProgress?: (done: number, total: number) => void },
): Promise<void> {
  let next = 0;
  let done = 0;
  const work = async (): Promise<void> => {
    for (let hash = missing[next++]; hash !== undefined; hash = missing[next++]) {
      signal?.throwIfAborted();
      await provider.upload(hash, await release.object(hash));
      onProgress?.(++done, missing.length);
    }
  };
  await Promise.all(Array.from({ length: Math.min(UPLOADS_AT_ONCE, missing.length) }, work));
}
