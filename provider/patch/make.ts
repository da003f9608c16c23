import path from 'node:path';
import { Worker } from 'node:worker_threads';
import { toWardcastError, WardcastError } from '../../shared/base/errors.ts';
import { PATCH_MAKE_TIMEOUT } from '../../shared/base/limits.ts';
import { type ChunkRef, type Manifest, printManifest } from '../../shared/bundle/manifest.ts';

export interface MakeOrder {
  /** Of the chunk store that holds both releases whole. */
  readonly directory: string;
  readonly old: Manifest;
  readonly next: Manifest;
  /** Content keys of encrypted releases by id. */
  readonly keys: ReadonlyMap<string, Uint8Array>;
  /** Where the patch is gathered; overwritten. */
  readonly file: string;
  /** Bytes beyond which the patch is not worth having. */
  readonly most: number;
}

/** What the thread says. */
export type Told =
  | { readonly kind: 'chunk'; readonly hash: string; readonly wire: Uint8Array }
  | { readonly kind: 'done'; readonly size: number; readonly sha256: string; readonly chunks: readonly ChunkRef[] }
  | { readonly kind: 'pointless'; readonly size: number }
  | { readonly kind: 'failed'; readonly error: ReturnType<WardcastError['toJSON']> };

type Done = Extract<Told, { kind: 'done' | 'pointless' }>;

/**
 * Makes a patch in a thread of its own, sealed as the release is that it makes.
 * @param put keeps a chunk; what it throws ends the making
 * @returns the canonical bytes of the patch's own manifest, or undefined when it would be larger than `most`
 * @throws as makePatch; OBJECT_ABSENT, HASH_MISMATCH when a chunk of either release is lost; CONTENT_KEY_ABSENT, TIMEOUT, ABORTED
 */
export async function makePatchRelease(order: MakeOrder, put: (hash: string, wire: Buffer) => Promise<void>, signal: AbortSignal): Promise<Buffer | undefined> {
  signal.throwIfAborted();
  const file = `./maker-thread${path.extname(import.meta.filename)}`;
  const thread = new Worker(new URL(file, import.meta.url), { name: 'patch', workerData: order });
  const { promise, resolve, reject } = Promise.withResolvers<Done>();
  const putting = new Set<Promise<void>>();
  thread.on('message', (told: Told) => {
    if (told.kind === 'failed') reject(new WardcastError(told.error.code, told.error.message, told.error));
    else if (told.kind !== 'chunk') resolve(told);
    else {
      const put1: Promise<void> = put(told.hash, Buffer.from(told.wire.buffer, told.wire.byteOffset, told.wire.byteLength))
        .then(() => thread.postMessage('kept'), reject)
        .finally(() => putting.delete(put1));
      putting.add(put1);
    }
  });
  thread.once('error', (error) => reject(toWardcastError(error, 'INTERNAL', 'The thread that makes a patch failed')));
  thread.once('exit', () => reject(new WardcastError('INTERNAL', 'The thread that makes a patch ended early')));
  const onAbort = (): void => reject(toWardcastError(signal.reason, 'ABORTED', 'The making of a patch was cancelled'));
  signal.addEventListener('abort', onAbort, { once: true });
  const timer = setTimeout(
    () => reject(new WardcastError('TIMEOUT', `Making a patch took longer than ${PATCH_MAKE_TIMEOUT / 60_000} minutes`)),
    PATCH_MAKE_TIMEOUT,
  );
  try {
    const done = await promise;
    await Promise.all(putting);
    return done.kind === 'pointless' ? undefined : patchManifest(order.next, done);
  } finally {
    clearTimeout(timer);
    signal.removeEventListener('abort', onAbort);
    await thread.terminate();
    await Promise.allSettled(putting);
  }
}

/** A patch is a release of one file, named as the one that it makes; so that it is fetched, sealed and passed on as any other is. */
function patchManifest({ application, version, encryption }: Manifest, { size, sha256, chunks }: Extract<Done, { kind: 'done' }>): Buffer {
  const [own] = encryption?.keys ?? [];
  return printManifest({
    format: 1,
    application,
    version,
    size,
    hooks: {},
    ...(own === undefined ? {} : { encryption: { keys: [own] } }),
    files: [{ path: 'patch', size, mode: 0o644, sha256, chunks }],
    links: [],
  });
}
