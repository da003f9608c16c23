import path from 'node:path';
import { Worker } from 'node:worker_threads';
import { toWardcastError, WardcastError } from '../../shared/base/errors.ts';
import { PATCH_EXPAND_TIMEOUT } from '../../shared/base/limits.ts';
import type { FileEntry } from '../../shared/bundle/manifest.ts';
import type { OldFile } from './old-files.ts';

export interface ExpandOrder {
  /** The patch's file. */
  readonly patch: string;
  /** Where the old release stands, and its files. */
  readonly directory: string;
  readonly old: readonly OldFile[];
  /** Those of the new release, in the manifest's order. */
  readonly files: readonly Pick<FileEntry, 'size' | 'sha256' | 'chunks'>[];
  /** Hashes of the chunks to be given. */
  readonly wanted: readonly string[];
}

/** What the thread says. */
export type Told =
  | { readonly kind: 'chunk'; readonly hash: string; readonly content: Uint8Array }
  | { readonly kind: 'done'; readonly given: number; readonly wrong: number }
  | { readonly kind: 'failed'; readonly error: ReturnType<WardcastError['toJSON']> };

/** MiB of the thread's JavaScript heap; models and blocks of files lie beside it. */
const HEAP_MIB = 96;

/**
 * Expands a patch in a thread of its own and gives the wanted chunks that came out right. Needs no trust in the patch, nor in the old files.
 * @param give takes a chunk's content; what it throws ends the expansion
 * @returns bytes that were given, and how many chunks came out wrong
 * @throws as applyPatch; OBJECT_ABSENT, STORAGE_FAILED when an old file cannot be read; TIMEOUT; ABORTED
 */
export async function expandPatch(
  order: ExpandOrder,
  give: (hash: string, content: Buffer) => Promise<void>,
  signal?: AbortSignal,
): Promise<{ readonly given: number; readonly wrong: number }> {
  signal?.throwIfAborted();
  const file = `./expand-thread${path.extname(import.meta.filename)}`;
  const thread = new Worker(new URL(file, import.meta.url), { name: 'expand', workerData: order, resourceLimits: { maxOldGenerationSizeMb: HEAP_MIB } });
  const { promise, resolve, reject } = Promise.withResolvers<{ readonly given: number; readonly wrong: number }>();
  const giving = new Set<Promise<void>>();
  thread.on('message', (told: Told) => {
    if (told.kind === 'done') resolve({ given: told.given, wrong: told.wrong });
    else if (told.kind === 'failed') reject(new WardcastError(told.error.code, told.error.message, told.error));
    else {
      const given: Promise<void> = give(told.hash, Buffer.from(told.content.buffer, told.content.byteOffset, told.content.byteLength))
        .then(() => thread.postMessage('taken'), reject)
        .finally(() => giving.delete(given));
      giving.add(given);
    }
  });
  thread.once('error', (error) => reject(toWardcastError(error, 'INTERNAL', 'The thread that expands a patch failed')));
  thread.once('exit', () => reject(new WardcastError('INTERNAL', 'The thread that expands a patch ended early')));
  const onAbort = (): void => reject(toWardcastError(signal?.reason, 'ABORTED', 'The expansion was cancelled'));
  signal?.addEventListener('abort', onAbort, { once: true });
  const timer = setTimeout(
    () => reject(new WardcastError('TIMEOUT', `Expanding a patch took longer than ${PATCH_EXPAND_TIMEOUT / 60_000} minutes`)),
    PATCH_EXPAND_TIMEOUT,
  );
  try {
    const done = await promise;
    await Promise.all(giving);
    return done;
  } finally {
    clearTimeout(timer);
    signal?.removeEventListener('abort', onAbort);
    await thread.terminate();
    await Promise.allSettled(giving);
  }
}
