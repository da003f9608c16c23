import { createHash } from 'node:crypto';
import { open } from 'node:fs/promises';
import { parentPort, workerData } from 'node:worker_threads';
import { toWardcastError } from '../../shared/base/errors.ts';
import { CHUNK_AVG, PATCH_WINDOW } from '../../shared/base/limits.ts';
import { workQuietly } from '../../shared/base/work-quietly.ts';
import { ChunkCodec, packChunk } from '../../shared/bundle/chunk-form.ts';
import type { ChunkRef, Manifest } from '../../shared/bundle/manifest.ts';
import { makePatch } from '../../shared/delta/make.ts';
import type { TreeFile } from '../../shared/delta/tree.ts';
import { readStored } from '../../shared/store/disk-chunk-store.ts';
import { chunkedTree } from './chunked-tree.ts';
import type { MakeOrder, Told } from './make.ts';

/** A thread that makes one patch: into a file first, and when it proved worth its while, its chunks out, as many at once as the other side takes. */
async function make(order: MakeOrder): Promise<Told> {
  await using file = await open(order.file, 'w+');
  let size = 0;
  for await (const part of makePatch({ old: treeOf(order.old, order), files: treeOf(order.next, order) })) {
    size += part.length;
    if (size > order.most) return { kind: 'pointless', size };
    await file.appendFile(part);
  }
  const [own] = order.next.encryption?.keys ?? [];
  const key = own === undefined ? undefined : order.keys.get(own);
  const chunks: ChunkRef[] = [];
  const whole = createHash('sha256');
  for (let at = 0; at < size; at += CHUNK_AVG) {
    const content = Buffer.alloc(Math.min(CHUNK_AVG, size - at));
    await file.read(content, 0, content.length, at);
    whole.update(content);
    const { chunk, wire } = packChunk(content, key === undefined ? undefined : { key: Buffer.from(key), index: 0 });
    chunks.push(chunk);
    await room();
    tell({ kind: 'chunk', hash: chunk.hash, wire });
  }
  return { kind: 'done', size, sha256: whole.digest('hex'), chunks };
}

function treeOf(manifest: Manifest, { directory, keys }: MakeOrder): TreeFile[] {
  const codec = new ChunkCodec(manifest, new Map([...keys].map(([id, key]) => [id, Buffer.from(key)])));
  return chunkedTree(manifest, async (chunk) => codec.decode(await readStored(directory, chunk.hash), chunk));
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

function tell(told: Told): void {
  parentPort?.postMessage(told);
}

workQuietly();
const order: MakeOrder = workerData;
try {
  tell(await make(order));
} catch (error) {
  tell({ kind: 'failed', error: toWardcastError(error).toJSON() });
} finally {
  parentPort?.close();
}
