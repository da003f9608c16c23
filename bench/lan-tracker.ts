import http from 'node:http';
import { z } from 'zod';

/**
 * A worker of the LAN bench: the smallest BitTorrent tracker (BEP 3, compact answers as in BEP 23), so that a swarm finds itself at once.
 * Writes a line when it listens, and one for every peer that is new to it.
 */

const Options = z.strictObject({ host: z.string(), port: z.int() });
const { host, port } = Options.parse(JSON.parse(process.argv[2] ?? ''));

const peers = new Map<string, Buffer>();
const server = http.createServer((request, response) => {
  const { searchParams } = new URL(request.url ?? '/', 'http://tracker');
  const address = request.socket.remoteAddress ?? '';
  const listening = Number(searchParams.get('port'));
  const self = `${address}:${listening}`;
  if (searchParams.get('event') === 'stopped') peers.delete(self);
  else {
    if (!peers.has(self)) process.stdout.write(`${JSON.stringify({ peer: self })}\n`);
    peers.set(self, Buffer.from([...address.split('.').map(Number), listening >> 8, listening & 255]));
  }
  const others = Buffer.concat([...peers].filter(([name]) => name !== self).map(([, compact]) => compact));
  response.end(Buffer.concat([Buffer.from(`d8:intervali2e12:min intervali1e5:peers${others.length}:`), others, Buffer.from('e')]));
});
server.listen(port, host, () => process.stdout.write(`${JSON.stringify({ port })}\n`));
