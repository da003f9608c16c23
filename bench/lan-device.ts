import { createHash } from 'node:crypto';
import { open, readFile } from 'node:fs/promises';
import path from 'node:path';
import { z } from 'zod';
import { DirectoryHandler } from '../agent/handlers/directory.ts';
import { loadCredentials } from '../certs/credentials.ts';
import { systemClock } from '../shared/base/clock.ts';
import { FETCH_CONCURRENCY } from '../shared/base/limits.ts';
import { createLog } from '../shared/base/log.ts';
import { type Manifest, parseManifest } from '../shared/bundle/manifest.ts';
import { HttpsChunkSource } from '../shared/net/chunk-client.ts';
import { APPLICATION, FILE } from './content.ts';
import { SCOPE } from './credentials.ts';

/**
 * A worker of the LAN bench: brings one release from the gateway onto its disk and says how long it took. `fetch`: every chunk verified and
 * written to its place; `stage`: as the agent does before an installation, with the whole file hashed once more and everything synced.
 */

const Options = z.strictObject({ port: z.int(), credentials: z.string(), manifest: z.string(), directory: z.string(), how: z.enum(['fetch', 'stage']) });
const options = Options.parse(JSON.parse(process.argv[2] ?? ''));

const log = createLog({ component: 'agent', level: 'warn' });
const clock = systemClock;
const credentials = await loadCredentials(options.credentials, clock);
const bytes = await readFile(options.manifest);
const manifest = parseManifest(bytes);
const manifestHash = createHash('sha256').update(bytes).digest('hex');

const before = process.cpuUsage();
const start = performance.now();
const expect = ({ role }: { role: string }): boolean => role === 'gateway';
const source = new HttpsChunkSource({ host: '127.0.0.1', port: options.port, credentials, expect, scope: SCOPE, log, clock });
if (options.how === 'fetch') await fetchAll(manifest);
else {
  const handler = new DirectoryHandler({ install: options.directory, log, clock });
  await handler.stage({ application: APPLICATION, version: manifest.version, manifestHash, manifest }, source);
}
const seconds = (performance.now() - start) / 1000;
const { user, system } = process.cpuUsage(before);
const rss = process.resourceUsage().maxRSS / 1024;
process.stdout.write(`${JSON.stringify({ seconds, cpu: (user + system) / 1e6, maxRssMib: rss })}\n`, () => process.exit(0));

async function fetchAll({ files: [file] }: Manifest): Promise<void> {
  if (file === undefined) return;
  await using handle = await open(path.join(options.directory, FILE), 'wx');
  const places: { hash: string; at: number }[] = [];
  let at = 0;
  for (const { hash, size } of file.chunks) {
    places.push({ hash, at });
    at += size;
  }
  const next = places.values();
  const fetchOneByOne = async (): Promise<void> => {
    for (const place of next) await handle.write(await source.get(place.hash), 0, undefined, place.at);
  };
  await Promise.all(Array.from({ length: FETCH_CONCURRENCY }, fetchOneByOne));
}
