import { readFile } from 'node:fs/promises';
import http2 from 'node:http2';
import type { AddressInfo } from 'node:net';
import { setTimeout as pause } from 'node:timers/promises';
import type { TLSSocket } from 'node:tls';
import { z } from 'zod';
import { loadCredentials } from '../certs/credentials.ts';
import { systemClock } from '../shared/base/clock.ts';
import type { Identity } from '../shared/base/identity.ts';
import { createLog } from '../shared/base/log.ts';
import { chunkList, chunkSizes, parseManifest } from '../shared/bundle/manifest.ts';
import { frameHeader, parseHashes } from '../shared/net/chunk-frames.ts';
import { createChunkHandler } from '../shared/net/chunk-server.ts';
import { openDoor } from '../shared/net/door.ts';
import { Wire } from '../shared/net/swarm/wire.ts';
import { DiskChunkStore } from '../shared/store/disk-chunk-store.ts';
import { SCOPE } from './credentials.ts';

/** A worker of the transports bench: one chunk store behind a door for https and frames, and behind an HTTP/2 server. */

const Options = z.strictObject({ credentials: z.string(), store: z.string(), manifest: z.string(), ahead: z.int(), unsent: z.int() });
const options = Options.parse(JSON.parse(process.argv[2] ?? ''));
const host = '127.0.0.1';
const log = createLog({ component: 'gateway', level: 'warn' });
const credentials = await loadCredentials(options.credentials, systemClock);
const store = await DiskChunkStore.open(options.store);
const manifest = parseManifest(await readFile(options.manifest));
const list = chunkList(manifest);
const chunks = chunkSizes(manifest);
const bundle = {
  scope: SCOPE,
  has: (hash: string) => chunks.has(hash),
  metadata: async () => undefined,
  target: async () => undefined,
  manifest: () => list,
  chunk: (hash: string) => store.get(hash),
};

const door = await openDoor({
  host,
  port: 0,
  credentials,
  log,
  clock: systemClock,
  accept: ({ role }) => role === 'device',
  onHttp: createChunkHandler({ log, bundles: () => bundle }),
  onSwarm: serveFrames,
});
const h2 = http2.createSecureServer({
  key: credentials.keyPem,
  cert: credentials.chainPem,
  ca: credentials.rootPem,
  requestCert: true,
  minVersion: 'TLSv1.3',
  settings: { maxFrameSize: 65_536 },
});
h2.on('stream', (stream) => {
  const parts: Buffer[] = [];
  stream.on('data', (part: Buffer) => parts.push(part));
  stream.on('end', () => void serveBatch(stream, parseHashes(Buffer.concat(parts)) ?? []));
});
await new Promise<void>((resolve) => h2.listen(0, host, resolve));
const address: string | AddressInfo | null = h2.address();
process.stdout.write(`${JSON.stringify({ door: door.port, h2: typeof address === 'object' ? address?.port : 0 })}\n`);

/** Answers asks in their order: some chunks read ahead, some bytes in the socket. */
function serveFrames(socket: TLSSocket, identity: Identity): void {
  const wire = Wire.accept(socket, identity);
  const asks: { transfer: number; index: number }[] = [];
  const ahead: { transfer: number; index: number; bytes: Promise<Buffer> }[] = [];
  let running = false;
  const pump = async (): Promise<void> => {
    if (running) return;
    running = true;
    for (;;) {
      for (const ask of asks.splice(0, options.ahead - ahead.length)) ahead.push({ ...ask, bytes: store.get(list.hashes[ask.index] ?? '') });
      const next = ahead.shift();
      if (next === undefined) break;
      wire.chunk(next.transfer, next.index, await next.bytes);
      while (wire.unsent > options.unsent) await pause(1);
      if (wire.closed) break;
    }
    running = false;
  };
  const nothing = (): void => undefined;
  wire.listen({
    onAsk: (transfer, indexes) => {
      for (const index of indexes) asks.push({ transfer, index });
      void pump();
    },
    onJoin: nothing,
    onHave: nothing,
    onAny: nothing,
    onChunk: nothing,
    onAbsent: nothing,
    onCancel: nothing,
    onLeave: nothing,
    onGot: nothing,
    onClosed: nothing,
  });
}

async function serveBatch(stream: http2.ServerHttp2Stream, hashes: readonly string[]): Promise<void> {
  stream.respond({ ':status': 200 });
  const waiting = [...hashes];
  const ahead: Promise<Buffer>[] = [];
  for (;;) {
    for (const hash of waiting.splice(0, options.ahead - ahead.length)) ahead.push(store.get(hash));
    const next = await ahead.shift();
    if (next === undefined) break;
    stream.cork();
    stream.write(frameHeader(next.length));
    const room = stream.write(next);
    stream.uncork();
    if (!room) await new Promise((resolve) => stream.once('drain', resolve));
  }
  stream.end();
}
