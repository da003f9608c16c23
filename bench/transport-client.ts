import { hash } from 'node:crypto';
import { open, readFile } from 'node:fs/promises';
import http2 from 'node:http2';
import { z } from 'zod';
import { loadCredentials } from '../certs/credentials.ts';
import { systemClock } from '../shared/base/clock.ts';
import { createLog } from '../shared/base/log.ts';
import { parseManifest } from '../shared/bundle/manifest.ts';
import { HttpsChunkSource } from '../shared/net/chunk-client.ts';
import { FrameParser, printHashes } from '../shared/net/chunk-frames.ts';
import { Wire } from '../shared/net/swarm/wire.ts';
import { SCOPE } from './credentials.ts';

/** A worker of the transports bench: fetches every chunk once, hashes it, writes it to its place, and tells how long that took from the first packet. */

const Options = z.strictObject({
  transport: z.enum(['https', 'frames', 'http2']),
  port: z.int(),
  credentials: z.string(),
  manifest: z.string(),
  out: z.string(),
  /** Connections, and bytes asked for and not yet written over all of them. */
  connections: z.int(),
  window: z.int(),
});
const options = Options.parse(JSON.parse(process.argv[2] ?? ''));
const host = '127.0.0.1';
const BATCH = 128;
const credentials = await loadCredentials(options.credentials, systemClock);
const [file] = parseManifest(await readFile(options.manifest)).files;
if (file === undefined) throw new Error('no file');
let end = 0;
const places = file.chunks.map((chunk, index) => {
  const at = end;
  end += chunk.size;
  return { ...chunk, index, at };
});
const handle = await open(options.out, 'wx');

/** Its peak; `maxRSS` would be the parent's as well. */
async function peakMemory(): Promise<number> {
  return Number(/VmHWM:\s+(\d+)/.exec(await readFile('/proc/self/status', 'utf8'))?.[1] ?? 0) / 1024;
}

async function store(index: number, bytes: Buffer): Promise<void> {
  const place = places[index];
  if (place === undefined || hash('sha256', bytes) !== place.hash) throw new Error(`chunk ${index} is wrong`);
  await handle.write(bytes, 0, bytes.length, place.at);
}

async function overHttps(): Promise<void> {
  const log = createLog({ component: 'agent', level: 'warn' });
  const expect = ({ role }: { role: string }): boolean => role === 'gateway';
  const source = new HttpsChunkSource({ host, port: options.port, credentials, expect, scope: SCOPE, log, clock: systemClock, lanes: options.connections });
  const next = places.values();
  // The source has hashed what it returns.
  const work = async (): Promise<void> => {
    for (const place of next) await handle.write(await source.get(place.hash), 0, undefined, place.at);
  };
  await Promise.all(Array.from({ length: options.window / 65_536 }, work));
}

async function overFrames(): Promise<void> {
  const next = places.values();
  const wires = await Promise.all(
    Array.from({ length: options.connections }, () => Wire.dial({ host, port: options.port, credentials, expect: () => true, clock: systemClock })),
  );
  await Promise.all(wires.map((wire) => overFrame(wire, next, options.window / wires.length)));
}

function overFrame(wire: Wire, next: Iterator<{ index: number; size: number }>, window: number): Promise<void> {
  return new Promise((resolve, reject) => {
    let open = 0;
    let asked = 0;
    const askMore = (): void => {
      const indexes: number[] = [];
      while (asked < window) {
        const { value, done } = next.next();
        if (done === true) break;
        asked += value.size;
        open += 1;
        indexes.push(value.index);
      }
      if (indexes.length > 0) wire.ask(1, indexes);
      else if (open === 0) resolve();
    };
    const nothing = (): void => undefined;
    wire.listen({
      onChunk: (_transfer, index, bytes) => {
        store(index, bytes).then(() => {
          asked -= bytes.length;
          open -= 1;
          if (asked < window / 2 || open === 0) askMore();
        }, reject);
      },
      onJoin: nothing,
      onHave: nothing,
      onAsk: nothing,
      onAny: nothing,
      onAbsent: nothing,
      onCancel: nothing,
      onLeave: nothing,
      onGot: nothing,
      onClosed: reject,
    });
    askMore();
  });
}

async function overHttp2(): Promise<void> {
  const batches = Array.from({ length: Math.ceil(places.length / BATCH) }, (_, at) => places.slice(at * BATCH, (at + 1) * BATCH)).values();
  const session = http2.connect(`https://${host}:${options.port}`, {
    key: credentials.keyPem,
    cert: credentials.chainPem,
    ca: credentials.rootPem,
    checkServerIdentity: () => undefined,
    settings: { initialWindowSize: options.window, maxFrameSize: 65_536 },
  });
  session.once('connect', () => session.setLocalWindowSize(options.window));
  const work = async (): Promise<void> => {
    for (const batch of batches) {
      const stream = session.request({ ':method': 'POST', ':path': '/chunks' });
      stream.end(printHashes(batch.map((place) => place.hash)));
      const parser = new FrameParser(1 << 20);
      const writes: Promise<void>[] = [];
      let at = 0;
      for await (const part of stream) for (const bytes of parser.push(part)) if (bytes !== undefined) writes.push(store(batch[at++]?.index ?? -1, bytes));
      await Promise.all(writes);
    }
  };
  await Promise.all(Array.from({ length: 2 }, work));
}

const before = process.cpuUsage();
const start = performance.now();
await { https: overHttps, frames: overFrames, http2: overHttp2 }[options.transport]();
const seconds = (performance.now() - start) / 1000;
const { user, system } = process.cpuUsage(before);
process.stdout.write(`${JSON.stringify({ seconds, bytes: end, cpu: (user + system) / 1e6, maxRssMib: await peakMemory() })}\n`, () => process.exit());
