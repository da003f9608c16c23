import { z } from 'zod';
import { loadCredentials } from '../certs/credentials.ts';
import { systemClock } from '../shared/base/clock.ts';
import { createLog } from '../shared/base/log.ts';
import type { EmbeddedBroker } from '../shared/net/broker.ts';
import { openDoor } from '../shared/net/door.ts';
import { createEmbeddedBroker } from '../shared/net/embedded-broker.ts';
import { ObjectServer } from '../shared/net/exchange/server.ts';
import { DiskChunkStore } from '../shared/store/disk-chunk-store.ts';
import { Want } from '../shared/wire/messages.ts';
import { parseUp, UP_FILTERS } from '../shared/wire/topics.ts';
import { Encoding, encode } from './encoding.ts';

/** A worker of the wan bench: the provider's door, broker and object server over a chunk store, and nothing else. */

const Options = z.strictObject({ host: z.string(), port: z.int(), credentials: z.string(), store: z.string(), encoding: Encoding });
const options = Options.parse(JSON.parse(process.argv[2] ?? ''));

const log = createLog({ component: 'provider', level: 'warn' });
const clock = systemClock;
const store = await DiskChunkStore.open(options.store);
const broker = createEmbeddedBroker({ log, clock });
const objects = new ObjectServer({ broker: encoded(broker), log, read: (_identity, ref) => store.get(ref.name) });
const door = await openDoor({
  host: options.host,
  port: options.port,
  credentials: await loadCredentials(options.credentials, clock),
  log,
  clock,
  accept: (identity) => identity.role === 'gateway',
  onMqtt: (socket, identity) => broker.attach(socket, identity),
});
process.stdout.write(`${JSON.stringify({ port: door.port })}\n`);

for await (const { topic, payload, accept } of broker.subscribe([UP_FILTERS.gateway])) {
  const said = parseUp(topic);
  if (said?.verb === 'want') objects.handle(said.sender, Want.parse(JSON.parse(payload.toString())));
  accept();
}

/** The same broker, except that objects leave it in another encoding. */
function encoded(plain: EmbeddedBroker): EmbeddedBroker {
  if (options.encoding === 'raw') return plain;
  return {
    publish: (...args) => plain.publish(...args),
    subscribe: (...args) => plain.subscribe(...args),
    send: (to, topic, payload, more) => plain.send(to, topic, encode(topic, payload), more),
    connected: (identity) => plain.connected(identity),
    onPresence: (listener) => plain.onPresence(listener),
    onRefused: (listener) => plain.onRefused(listener),
    disconnect: (identity) => plain.disconnect(identity),
    close: () => plain.close(),
  };
}
