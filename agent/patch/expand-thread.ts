import { createReadStream } from 'node:fs';
import { parentPort, workerData } from 'node:worker_threads';
import { toWardcastError } from '../../shared/base/errors.ts';
import { PATCH_WINDOW } from '../../shared/base/limits.ts';
import { workQuietly } from '../../shared/base/work-quietly.ts';
import { plainHash } from '../../shared/bundle/chunk-form.ts';
import { sha256 } from '../../shared/bundle/digest.ts';
import { applyPatch } from '../../shared/delta/apply.ts';
import { Cutter } from '../../shared/delta/cutter.ts';
import { distinct } from '../../shared/delta/tree.ts';
import type { ExpandOrder, Told } from './expand.ts';
import { OldFiles } from './old-files.ts';

/**
 * A thread that expands one patch: chunks of the new release out, as many at once as the other side takes. Only what is the content that the signed manifest
 * names leaves it.
 */
async function expand(order: ExpandOrder): Promise<{ given: number; wrong: number }> {
  const wanted = new Set(order.wanted);
  const cutters = new Map(distinct(order.files).map((index) => [index, new Cutter(order.files[index]?.chunks ?? [])]));
  const done = { given: 0, wrong: 0 };
  using old = new OldFiles(order.directory, order.old);
  await applyPatch({
    patch: createReadStream(order.patch, { highWaterMark: 64 * 1024 }),
    old: old.files,
    files: order.files,
    needed: (index) => order.files[index]?.chunks.some(({ hash }) => wanted.has(hash)) === true,
    write: async (index, bytes) => {
      for (const { chunk, content } of cutters.get(index)?.push(bytes) ?? []) {
        if (!wanted.has(chunk.hash)) continue;
        if (sha256(content) !== plainHash(chunk)) {
          done.wrong += 1;
          continue;
        }
        // Once, wherever else it stands.
        wanted.delete(chunk.hash);
        done.given += content.length;
        await room();
        tell({ kind: 'chunk', hash: chunk.hash, content }, [content.buffer]);
      }
    },
  });
  return done;
}

let underWay = 0;
let roomMade = Promise.withResolvers<void>();
parentPort?.on('message', () => {
  underWay -= 1;
  roomMade.resolve();
  roomMade = Promise.withResolvers();
});

async function room(): Promise<void> {
  while (underWay >= PATCH_WINDOW) await roomMade.promise;
  underWay += 1;
}

function tell(told: Told, transfer: ArrayBufferLike[] = []): void {
  parentPort?.postMessage(
    told,
    transfer.flatMap((buffer) => (buffer instanceof ArrayBuffer ? [buffer] : [])),
  );
}

workQuietly();
const order: ExpandOrder = workerData;
try {
  tell({ kind: 'done', ...(await expand(order)) });
} catch (error) {
  tell({ kind: 'failed', error: toWardcastError(error, 'STORAGE_FAILED', 'An old file could not be read').toJSON() });
} finally {
  parentPort?.close();
}
