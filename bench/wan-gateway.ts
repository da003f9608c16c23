import { readFile } from 'node:fs/promises';
import { z } from 'zod';
import { loadCredentials } from '../certs/credentials.ts';
import { ChunkPull } from '../gateway/relay/chunk-pull.ts';
import { systemClock } from '../shared/base/clock.ts';
import { createLog } from '../shared/base/log.ts';
import { chunkSizes, parseManifest } from '../shared/bundle/manifest.ts';
import type { Delivery, Link } from '../shared/net/broker.ts';
import { ObjectPuller, type PullLink } from '../shared/net/exchange/puller.ts';
import { openLink } from '../shared/net/link.ts';
import { DiskChunkStore } from '../shared/store/disk-chunk-store.ts';
import { SCOPE } from './credentials.ts';
import { decode, Encoding } from './encoding.ts';

/** A worker of the wan bench: pulls all chunks of a manifest onto its disk, as the gateway does, and says how long it took. */

const Options = z.strictObject({ host: z.string(), port: z.int(), credentials: z.string(), manifest: z.string(), store: z.string(), encoding: Encoding });
const options = Options.parse(JSON.parse(process.argv[2] ?? ''));

const log = createLog({ component: 'gateway', level: 'warn' });
const clock = systemClock;
const credentials = await loadCredentials(options.credentials, clock);
const store = await DiskChunkStore.open(options.store);
const missing = chunkSizes(parseManifest(await readFile(options.manifest)));

const before = process.cpuUsage();
const dialled = performance.now();
const link = openLink({ host: options.host, port: options.port, credentials, expect: ({ role }) => role === 'provider', log, clock });
const puller = new ObjectPuller({ link: decoding(link), identity: credentials.identity, log, clock });
await new Promise<void>((resolve) => link.onState((state) => state === 'up' && resolve()));
const up = performance.now();
const pull = new ChunkPull({ store, log, ask: ({ group, hash, size }, signal) => puller.get({ group, kind: 'chunk', name: hash }, { size, signal }) });
await pull.obtain(SCOPE.group, missing);
const done = performance.now();
const { user, system } = process.cpuUsage(before);
const figures = {
  total: (done - dialled) / 1000,
  transfer: (done - up) / 1000,
  received: link.traffic().received,
  stored: store.bytes,
  cpu: (user + system) / 1e6,
};
process.stdout.write(`${JSON.stringify(figures)}\n`, () => process.exit(0));

function decoding(plain: Link): PullLink {
  if (options.encoding === 'raw') return plain;
  return {
    get state() {
      return plain.state;
    },
    publish: (...args) => plain.publish(...args),
    onState: (listener) => plain.onState(listener),
    traffic: () => plain.traffic(),
    async *subscribe(filters, more): AsyncGenerator<Delivery> {
      for await (const delivery of plain.subscribe(filters, more)) yield { ...delivery, payload: decode(delivery.topic, delivery.payload) };
    },
  };
}
