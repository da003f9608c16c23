import { readFile } from 'node:fs/promises';
import path from 'node:path';
import readline from 'node:readline';
import tls, { type SecureContext } from 'node:tls';
import { z } from 'zod';
import { connect, idOf, puback, publish, type RawClient, subscribe } from './mqtt-client.ts';

/**
 * A worker: the clients of a broker, all in this one process. `publish`: some send messages at QoS 1, one in flight each, and one hears them all.
 * `connect`: connects one client per certificate, says how long it took, and holds them until standard input ends.
 */

const Options = z.discriminatedUnion('do', [
  z.strictObject({ do: z.literal('publish'), port: z.int(), credentials: z.string(), clients: z.int(), messages: z.int(), bytes: z.int() }),
  z.strictObject({ do: z.literal('connect'), port: z.int(), herd: z.string(), clients: z.int(), atOnce: z.int() }),
]);
const Herd = z.object({ key: z.string(), root: z.string(), members: z.array(z.object({ clientId: z.string(), chain: z.string() })) });

const options = Options.parse(JSON.parse(process.argv[2] ?? ''));
if (options.do === 'publish') await publishAll(options);
else await connectAll(options);

async function publishAll({ port, credentials, clients, messages, bytes }: Extract<z.output<typeof Options>, { do: 'publish' }>): Promise<void> {
  const read = (name: string): Promise<string> => readFile(path.join(credentials, name), 'utf8');
  const context = tls.createSecureContext({ key: await read('key.pem'), cert: await read('chain.pem'), ca: await read('root.pem'), minVersion: 'TLSv1.3' });
  const payload = Buffer.alloc(bytes, 'x');
  const done = Promise.withResolvers<void>();
  let sent = 0;
  let acknowledged = 0;
  let heard = 0;
  const look = (): void => {
    if (acknowledged >= messages && heard >= messages) done.resolve();
  };
  const listener = await connect({ port, context, clientId: 'provider' });
  listener.onPacket = (type, packet) => {
    if (type !== 3) return;
    heard++;
    listener.socket.write(puback(idOf(packet)));
    look();
  };
  await new Promise<void>((resolve) => listener.socket.write(subscribe('statement/#'), () => resolve()));
  const publishers: RawClient[] = [];
  for (let i = 0; i < clients; i++) publishers.push(await connect({ port, context, clientId: `gateway-${i}` }));

  const start = performance.now();
  for (const [index, publisher] of publishers.entries()) {
    let id = 0;
    const next = (): void => {
      if (sent >= messages) return;
      sent++;
      id = (id % 65535) + 1;
      publisher.socket.write(publish(`statement/${index}`, id, payload));
    };
    publisher.onPacket = (type) => {
      if (type !== 4) return;
      acknowledged++;
      look();
      next();
    };
    next();
  }
  await done.promise;
  const perSecond = messages / ((performance.now() - start) / 1000);
  process.stdout.write(`${JSON.stringify({ perSecond })}\n`, () => process.exit(0));
}

async function connectAll({ port, herd, clients, atOnce }: Extract<z.output<typeof Options>, { do: 'connect' }>): Promise<void> {
  const { key, root, members } = Herd.parse(JSON.parse(await readFile(herd, 'utf8')));
  // Made beforehand: what the clients need to get ready is not the broker's time.
  const ready = members.slice(0, clients).map(({ clientId, chain }): { clientId: string; context: SecureContext } => {
    return { clientId, context: tls.createSecureContext({ key, cert: chain, ca: root, minVersion: 'TLSv1.3' }) };
  });
  const held: RawClient[] = [];
  const start = performance.now();
  const next = ready.values();
  const connectOneByOne = async (): Promise<void> => {
    for (const { clientId, context } of next) held.push(await connect({ port, context, clientId }));
  };
  await Promise.all(Array.from({ length: atOnce }, connectOneByOne));
  const seconds = (performance.now() - start) / 1000;
  for (const { socket } of held) socket.on('error', () => undefined);
  process.stdout.write(`${JSON.stringify({ perSecond: held.length / seconds, connected: held.length })}\n`);
  for await (const _line of readline.createInterface({ input: process.stdin })) break;
  process.exit(0);
}
