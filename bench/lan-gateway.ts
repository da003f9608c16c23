import { readFile } from 'node:fs/promises';
import { z } from 'zod';
import { loadCredentials } from '../certs/credentials.ts';
import { systemClock } from '../shared/base/clock.ts';
import { createLog } from '../shared/base/log.ts';
import { chunkSizes, parseManifest } from '../shared/bundle/manifest.ts';
import { createChunkHandler } from '../shared/net/chunk-server.ts';
import { openDoor } from '../shared/net/door.ts';
import { DiskChunkStore } from '../shared/store/disk-chunk-store.ts';
import { SCOPE } from './credentials.ts';

/** A worker of the LAN bench: the gateway's door and chunk server over a chunk store, and nothing else. */

const Options = z.strictObject({ credentials: z.string(), store: z.string(), manifest: z.string() });
const options = Options.parse(JSON.parse(process.argv[2] ?? ''));

const log = createLog({ component: 'gateway', level: 'warn' });
const store = await DiskChunkStore.open(options.store);
const chunks = chunkSizes(parseManifest(await readFile(options.manifest)));
const bundle = {
  scope: SCOPE,
  has: (hash: string) => chunks.has(hash),
  metadata: async () => undefined,
  target: async () => undefined,
  chunk: (hash: string) => store.get(hash),
};
const door = await openDoor({
  host: '127.0.0.1',
  port: 0,
  credentials: await loadCredentials(options.credentials, systemClock),
  log,
  clock: systemClock,
  accept: (identity) => identity.role === 'device',
  onHttp: createChunkHandler({ log, bundles: () => bundle }),
});
process.stdout.write(`${JSON.stringify({ port: door.port })}\n`);
