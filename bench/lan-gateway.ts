import { readFile } from 'node:fs/promises';
import { z } from 'zod';
import { loadCredentials } from '../certs/credentials.ts';
import { Seeder } from '../gateway/seed/seeder.ts';
import { systemClock } from '../shared/base/clock.ts';
import { createLog } from '../shared/base/log.ts';
import { sha256 } from '../shared/bundle/digest.ts';
import { chunkList, chunkSizes, parseManifest } from '../shared/bundle/manifest.ts';
import { createChunkHandler } from '../shared/net/chunk-server.ts';
import { openDoor } from '../shared/net/door.ts';
import { entitledChunks } from '../shared/net/swarm/entitled.ts';
import { DiskChunkStore } from '../shared/store/disk-chunk-store.ts';
import { SCOPE } from './credentials.ts';

/** A worker of the LAN bench: the gateway's door and chunk server over a chunk store, and nothing else. */

const Options = z.strictObject({ host: z.string(), credentials: z.string(), store: z.string(), manifest: z.string() });
const options = Options.parse(JSON.parse(process.argv[2] ?? ''));

const log = createLog({ component: 'gateway', level: 'warn' });
const store = await DiskChunkStore.open(options.store);
const bytes = await readFile(options.manifest);
const manifest = parseManifest(bytes);
const manifestHash = sha256(bytes);
const list = chunkList(manifest);
const chunks = chunkSizes(manifest);
const bundle = {
  scope: SCOPE,
  has: (hash: string) => chunks.has(hash),
  metadata: async () => undefined,
  target: async () => undefined,
  manifest: (hash: string) => (hash === manifestHash ? list : undefined),
  chunk: (hash: string) => store.get(hash),
};
const seeder = new Seeder({
  lacking: () => undefined,
  find: (device, hash) => entitledChunks(device, bundle, hash),
  rate: () => Number.POSITIVE_INFINITY,
  sent: () => undefined,
  clock: systemClock,
  log,
  random: Math.random,
});
const door = await openDoor({
  host: options.host,
  port: 0,
  credentials: await loadCredentials(options.credentials, systemClock),
  log,
  clock: systemClock,
  accept: (identity) => identity.role === 'device',
  onHttp: createChunkHandler({ log, bundles: () => bundle }),
  onSwarm: (socket, identity) => seeder.attach(socket, identity),
});
process.stdout.write(`${JSON.stringify({ port: door.port })}\n`);
