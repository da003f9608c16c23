import { createServer } from 'node:net';
import { systemClock } from '../../shared/base/clock.ts';
import { type Identity, identityPath } from '../../shared/base/identity.ts';
import type { Log } from '../../shared/base/log.ts';
import { createEmbeddedBroker } from '../../shared/net/embedded-broker.ts';
import { down, ROOT, UP_FILTERS } from '../../shared/wire/topics.ts';
import type { BrokerOrder, BrokerReport } from './broker-target.ts';

/**
 * The guarded broker behind plain sockets, one for each identity: everything behind the TLS handshake, at a hundredth of its price. Its owner does
 * with messages what daemons do: takes a moment, accepts, answers.
 */

const problems: string[] = [];
let lines = 0;

const log: Log = {
  debug: () => undefined,
  info: () => undefined,
  warn: (_event, fields) => note(fields),
  error: (event, fields) => {
    problems.push(`${event} ${JSON.stringify(fields)}`);
  },
  child: () => log,
};

// biome-ignore lint/suspicious/noControlCharactersInRegex: these are what is looked for.
const CONTROL = /[\u0000-\u001f\u007f]/;

function note(fields: unknown): void {
  lines++;
  const text = JSON.stringify(fields) ?? '';
  if (text.includes('"INTERNAL"')) problems.push(text);
  // What strangers say must neither break a line of the log nor a terminal that shows it.
  for (const value of Object.values(Object(fields)))
    if (typeof value === 'string' && CONTROL.test(value)) problems.push(`control characters in the log: ${text}`);
}

process.on('unhandledRejection', (reason) => problems.push(`unhandled: ${String(reason)}`));

const broker = createEmbeddedBroker({ log, clock: systemClock, drainTimeout: 2000 });
let heard = 0;
async function own(): Promise<void> {
  for await (const { from, topic, payload, accept } of broker.subscribe(Object.values(UP_FILTERS))) {
    heard++;
    if (heard % 7 === 0) await new Promise((resolve) => setImmediate(resolve));
    accept();
    if (from !== undefined && from.role !== 'provider') {
      if (!topic.startsWith(`${ROOT}/${identityPath(from)}/up/`)) problems.push(`${topic} was said by ${JSON.stringify(from)}`);
      void broker.send(from, down(from, 'offer'), payload.subarray(0, 4000), { qos: heard % 2 === 0 ? 0 : 1 }).catch(() => undefined);
    }
  }
}
void own();

function listen(path: string, identity: Identity): Promise<void> {
  const server = createServer({ allowHalfOpen: false, pauseOnConnect: false }, (socket) => broker.attach(socket, identity));
  return new Promise((resolve, reject) => {
    server.once('error', reject);
    server.listen(path, resolve);
  });
}

function tell(report: BrokerReport): void {
  process.send?.(report);
}

process.on('message', (order: BrokerOrder) => {
  if (order.say === 'listen') void Promise.all(order.at.map(({ path, identity }) => listen(path, identity))).then(() => tell({ is: 'ready' }));
  // A turn of the loop later: what was said is handled by then, or the loop hangs and there is no answer.
  else setImmediate(() => tell({ is: 'fine', turn: order.turn, problems: problems.splice(0), lines, heard }));
});
process.once('disconnect', () => process.exit(0));
