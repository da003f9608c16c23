import { randomUUID } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import readline from 'node:readline';
import { z } from 'zod';
import { isOwnGateway, locate } from '../agent/locate.ts';
import { Session } from '../agent/session.ts';
import { checkCredentials } from '../certs/credentials.ts';
import { systemClock } from '../shared/base/clock.ts';
import { silentLog } from '../shared/base/log.ts';
import { openLink } from '../shared/net/link.ts';

/**
 * A worker of the control bench: the connections of many devices, each as its agent keeps it (agent/locate.ts, shared/net/link.ts, agent/session.ts), in
 * one process. Writes a line with the time whenever the last of them has been greeted; ends with its standard input.
 */

const Options = z.strictObject({ port: z.int(), herd: z.string(), from: z.int(), to: z.int() });
const Herd = z.object({ key: z.string(), root: z.string(), members: z.array(z.object({ clientId: z.string(), chain: z.string() })) });
/** Where the devices say that they serve chunks: nobody dials it here. */
const PORT = 9;

const { port, herd, from, to } = Options.parse(JSON.parse(process.argv[2] ?? ''));
const { key, root, members } = Herd.parse(JSON.parse(await readFile(herd, 'utf8')));
const mine = members.slice(from, to).map(({ chain }) => checkCredentials({ keyPem: key, chainPem: chain, rootPem: root }, herd));
const greeted = new Set<object>();
const peersHeard = { lists: 0, peers: 0 };
const stop = new AbortController();
process.stdout.write('{"prepared":true}\n');

const running = mine.map((credentials) => {
  const { identity } = credentials;
  if (identity.role !== 'device') throw new Error('no device');
  const open: Parameters<typeof locate>[0]['open'] = ({ host }, lost) => {
    const link = openLink({
      host,
      port,
      credentials,
      expect: (other) => isOwnGateway(identity, other),
      log: silentLog,
      clock: systemClock,
      signal: lost,
    });
    const instance = randomUUID();
    const session = new Session({
      link,
      device: identity,
      hello: () => ({ version: '0.1.0', instance, port: PORT }),
      log: silentLog,
      signal: lost,
      onOffer: () => undefined,
      onReceipt: async () => undefined,
      onTime: () => undefined,
      onGroupKeys: async () => undefined,
      onStatementRefused: () => undefined,
      onPeers: (peers) => {
        peersHeard.lists++;
        peersHeard.peers += peers.peers.length;
      },
    });
    const listening = session.listen();
    const serve = async (): Promise<void> => {
      await session.greet();
      greeted.add(credentials);
      if (greeted.size === mine.length) process.stdout.write(`${JSON.stringify({ allAt: Date.now(), ...peersHeard })}\n`);
      await listening;
    };
    lost.addEventListener('abort', () => greeted.delete(credentials), { once: true });
    return { link, serve };
  };
  const browse = async function* (): AsyncGenerator<never> {};
  return locate({ fixed: { host: '127.0.0.1', port }, browse, open, clock: systemClock, log: silentLog }, stop.signal);
});
for await (const _line of readline.createInterface({ input: process.stdin })) break;
stop.abort(new Error('over'));
await Promise.all(running);
process.exit(0);
