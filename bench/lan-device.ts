import { hash } from 'node:crypto';
import { once } from 'node:events';
import { open, readFile } from 'node:fs/promises';
import path from 'node:path';
import { z } from 'zod';
import { chunksByHash, decoded } from '../agent/fetch/decoded.ts';
import { DirectoryHandler } from '../agent/handlers/directory.ts';
import { OwnShelf } from '../agent/serve/shelf.ts';
import { Swarm } from '../agent/swarm/swarm.ts';
import { loadCredentials } from '../certs/credentials.ts';
import { systemClock } from '../shared/base/clock.ts';
import { createLog } from '../shared/base/log.ts';
import { ChunkCodec, keysOf } from '../shared/bundle/chunk-form.ts';
import { chunkList, chunkSizes, parseManifest } from '../shared/bundle/manifest.ts';
import { openDoor } from '../shared/net/door.ts';
import type { ChunkFetcher, Deliver } from '../shared/store/chunk-fetcher.ts';
import { APPLICATION, FILE } from './content.ts';
import { SCOPE } from './credentials.ts';

/**
 * A worker of the LAN bench: one device with the agent's own swarm, shelf and install handler. Says {"ready":true,"port"} when it is connected to all peers
 * it was told of, waits for the line `go`, brings one release onto its disk and says what it took; then it goes on serving others. `stage`: as the
 * agent does before an installation, with whole files hashed and everything synced; `fetch`: every chunk verified and written to its place.
 */

const Options = z.strictObject({
  /** Where it serves others. */
  host: z.string(),
  port: z.int(),
  /** As `host:port`, like the peers. */
  gateway: z.string(),
  credentials: z.string(),
  manifest: z.string(),
  directory: z.string(),
  peers: z.array(z.string()),
  how: z.enum(['fetch', 'stage']),
  /** The content key of an encrypted release, base64. */
  key: z.string().optional(),
});
const options = Options.parse(JSON.parse(process.argv[2] ?? ''));

const log = createLog({ component: 'agent', level: 'warn' });
const clock = systemClock;
const bytes = await readFile(options.manifest);
const manifest = parseManifest(bytes);
const manifestHash = hash('sha256', bytes);
const credentials = await loadCredentials(options.credentials, clock);
const device = credentials.identity;
if (device.role !== 'device') throw new Error('these are not the credentials of a device');
const bundle = { format: 1, ...SCOPE, sequence: 1, releases: [], withdrawn: [] } as const;
const view = {
  bundle,
  bundleHash: '',
  timestampVersion: 1,
  manifests: new Map([[manifestHash, manifest]]),
  patches: new Map(),
  metadata: new Map(),
  targets: new Map(),
};
const contentKeys = keysOf(manifest, options.key === undefined ? [] : [Buffer.from(options.key, 'base64')]);
const shelf = new OwnShelf(
  device,
  () => view,
  systemClock,
  () => contentKeys,
);
const swarm = new Swarm({ device, credentials, shelf, uploadRate: () => Number.POSITIVE_INFINITY, uploads: () => true, clock, log, random: Math.random });
const door = await openDoor({
  host: options.host,
  port: options.port,
  credentials,
  log,
  clock,
  accept: (identity) => swarm.isPeer(identity),
  onSwarm: (socket, identity) => swarm.attach(socket, identity),
});
swarm.listed(options.peers.map(address));
swarm.gatewayAt(address(options.gateway));
while (swarm.peers < options.peers.length) await clock.sleep(20);
process.stdout.write(`${JSON.stringify({ ready: true, port: door.port })}\n`);
await once(process.stdin, 'data');

const received = { gateway: 0, peer: 0, own: 0, patch: 0 };
const list = chunkList(manifest);
const chunks: ChunkFetcher = {
  fetch: (wanted, deliver, call) => {
    const counted: Deliver = async (name, chunk, from) => {
      received[from] += chunk.length;
      await deliver(name, chunk, from);
    };
    return swarm.fetch(manifestHash, list, wanted, counted, call);
  },
};
const before = process.cpuUsage();
const start = performance.now();
if (options.how === 'fetch') await fetchToFile();
else {
  const handler = new DirectoryHandler({ install: options.directory, log, clock });
  await handler.stage(
    { application: APPLICATION, version: manifest.version, manifestHash, manifest },
    decoded(chunks, chunksByHash(manifest), new ChunkCodec(manifest, contentKeys)),
    { onStaged: (tree) => void shelf.stage(tree) },
  );
  shelf.restock(await handler.trees());
  swarm.restocked();
}
const seconds = (performance.now() - start) / 1000;
const { user, system } = process.cpuUsage(before);
const said = { seconds, fromGateway: received.gateway, fromPeers: received.peer, cpu: (user + system) / 1e6, maxRssMib: process.resourceUsage().maxRSS / 1024 };
process.stdout.write(`${JSON.stringify(said)}\n`);

function address(text: string): { host: string; port: number } {
  const [host = '', port] = text.split(':');
  return { host, port: Number(port) };
}

async function fetchToFile(): Promise<void> {
  const places = new Map<string, number>();
  let at = 0;
  for (const { hash: name, size } of manifest.files[0]?.chunks ?? []) {
    places.set(name, at);
    at += size;
  }
  // The last device to be done ends the run: others may read from this one until then.
  const handle = await open(path.join(options.directory, FILE), 'wx+');
  const sizes = chunkSizes(manifest);
  const here = new Set<string>();
  const read = async (name: string): Promise<Buffer | undefined> => {
    const { buffer } = await handle.read(Buffer.allocUnsafe(sizes.get(name) ?? 0), 0, undefined, places.get(name));
    return hash('sha256', buffer) === name ? buffer : undefined;
  };
  shelf.stage({ has: (name) => here.has(name), read });
  await chunks.fetch(sizes, async (name, chunk) => {
    await handle.write(chunk, 0, undefined, places.get(name));
    here.add(name);
  });
}
