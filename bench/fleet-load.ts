import { readFile } from 'node:fs/promises';
import tls from 'node:tls';
import { z } from 'zod';
import { type GatewayIdentity, identityPath } from '../shared/base/identity.ts';
import { MAX_WANT_NAMES, PULL_WINDOW_BASE } from '../shared/base/limits.ts';
import { chunkSizes, parseManifest } from '../shared/bundle/manifest.ts';
import { up } from '../shared/wire/topics.ts';
import { SCOPE } from './credentials.ts';
import { connect, publish, type RawClient } from './mqtt-client.ts';

/** A worker of the fleet bench: gateways that ask for all chunks of a manifest, all at the same time, and only count what comes. */

const Options = z.strictObject({ port: z.int(), herd: z.string(), manifest: z.string() });
const Herd = z.object({
  key: z.string(),
  root: z.string(),
  members: z.array(
    z.object({ identity: z.object({ role: z.literal('gateway'), customer: z.string(), site: z.string(), gateway: z.string() }), chain: z.string() }),
  ),
});
/** Handshakes under way at once. */
const AT_ONCE = 16;

const { port, herd, manifest } = Options.parse(JSON.parse(process.argv[2] ?? ''));
const { key, root, members } = Herd.parse(JSON.parse(await readFile(herd, 'utf8')));
const sizes = chunkSizes(parseManifest(await readFile(manifest)));
class Puller {
  received = 0;
  readonly #identity: GatewayIdentity;
  readonly #chain: string;
  readonly #waiting = [...sizes];
  #client: RawClient | undefined;
  #outstanding = 0;
  #missing = sizes.size;
  #id = 0;

  constructor(identity: GatewayIdentity, chain: string) {
    this.#identity = identity;
    this.#chain = chain;
  }

  async connect(): Promise<void> {
    const context = tls.createSecureContext({ key, cert: this.#chain, ca: root, minVersion: 'TLSv1.3' });
    this.#client = await connect({ port, context, clientId: identityPath(this.#identity) });
  }

  pull(): Promise<void> {
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    const client = this.#client;
    if (client === undefined) throw new Error('not connected');
    client.socket.on('close', () => reject(new Error('the provider closed the connection')));
    client.onPacket = (type, packet) => {
      if (type !== 3) return;
      const hash = /\/([0-9a-f]{64})\/0\/1$/.exec(topicOf(packet))?.[1] ?? '';
      const size = sizes.get(hash);
      if (size === undefined) return;
      this.received += size;
      this.#outstanding -= size;
      this.#missing--;
      if (this.#missing === 0) resolve();
      else this.#ask(client);
    };
    this.#ask(client);
    return promise;
  }

  #ask(client: RawClient): void {
    const names: string[] = [];
    while (names.length < MAX_WANT_NAMES && this.#outstanding < PULL_WINDOW_BASE) {
      const next = this.#waiting.pop();
      if (next === undefined) break;
      names.push(next[0]);
      this.#outstanding += next[1];
    }
    if (names.length === 0) return;
    this.#id = (this.#id % 65_535) + 1;
    client.socket.write(publish(up(this.#identity, 'want'), this.#id, Buffer.from(JSON.stringify({ group: SCOPE.group, kind: 'chunk', names }))));
  }
}

function topicOf(packet: Buffer): string {
  let header = 1;
  while (((packet[header] ?? 0) & 128) !== 0) header++;
  header++;
  return packet.toString('latin1', header + 2, header + 2 + packet.readUInt16BE(header));
}

const pullers = members.map(({ identity, chain }) => new Puller(identity, chain));
const rest = pullers.values();
await Promise.all(
  Array.from({ length: AT_ONCE }, async () => {
    for (const puller of rest) await puller.connect();
  }),
);

const start = performance.now();
/** Bytes that each had when the first had all. */
let shares: number[] | undefined;
const seconds = await Promise.all(
  pullers.map(async (puller) => {
    await puller.pull();
    shares ??= pullers.map(({ received }) => received);
    return (performance.now() - start) / 1000;
  }),
);
process.stdout.write(`${JSON.stringify({ seconds, shares })}\n`, () => process.exit(0));
