import { z } from 'zod';
import { loadCredentials } from '../certs/credentials.ts';
import { systemClock } from '../shared/base/clock.ts';
import { createLog } from '../shared/base/log.ts';
import { openDoor } from '../shared/net/door.ts';
import { createEmbeddedBroker } from '../shared/net/embedded-broker.ts';

/** A worker of the connect bench: the guarded broker behind its door, and nothing else. */

const options = z.strictObject({ credentials: z.string() }).parse(JSON.parse(process.argv[2] ?? ''));
const log = createLog({ component: 'gateway', level: 'warn' });
const broker = createEmbeddedBroker({ log, clock: systemClock });
const door = await openDoor({
  host: '127.0.0.1',
  port: 0,
  credentials: await loadCredentials(options.credentials, systemClock),
  log,
  clock: systemClock,
  accept: (identity) => identity.role === 'device',
  onMqtt: (socket, identity) => broker.attach(socket, identity),
});
process.stdout.write(`${JSON.stringify({ port: door.port })}\n`);
