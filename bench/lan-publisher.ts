import { open } from 'node:fs/promises';
import tls from 'node:tls';
import { z } from 'zod';
import { loadCredentials } from '../certs/credentials.ts';
import { systemClock } from '../shared/base/clock.ts';
import { connect, publish } from './mqtt-client.ts';

/** A worker of the LAN bench: publishes a file through a broker, one payload after the other, a few of them unacknowledged. */

const WINDOW = 16;
const Options = z.strictObject({ host: z.string(), port: z.int(), credentials: z.string(), file: z.string(), payload: z.int(), topic: z.string() });
const { host, port, credentials, file, payload, topic } = Options.parse(JSON.parse(process.argv[2] ?? ''));

const { keyPem, chainPem, rootPem } = await loadCredentials(credentials, systemClock);
const context = tls.createSecureContext({ key: keyPem, cert: chainPem, ca: rootPem, minVersion: 'TLSv1.3' });
const client = await connect({ host, port, context, clientId: 'publisher' });
await using handle = await open(file);
let acknowledged = Promise.withResolvers<void>();
let underWay = 0;
client.onPacket = (type) => {
  if (type !== 4) return;
  underWay--;
  acknowledged.resolve();
};
for (let at = 0, id = 1; ; id = (id % 65_535) + 1) {
  const { bytesRead, buffer } = await handle.read(Buffer.allocUnsafe(payload), 0, payload, at);
  if (bytesRead === 0) break;
  at += bytesRead;
  client.socket.write(publish(topic, id, buffer.subarray(0, bytesRead)));
  underWay++;
  while (underWay >= WINDOW) {
    acknowledged = Promise.withResolvers();
    await acknowledged.promise;
  }
}
