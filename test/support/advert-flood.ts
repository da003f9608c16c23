import dgram from 'node:dgram';
import net from 'node:net';
import { printAdvert } from '../../shared/net/mdns-records.ts';

/**
 * Floods a LAN with forged mDNS adverts: `node advert-flood.ts '{"interface": …, "addresses": […], "ports": […], "seconds": 10, "perSecond": 1000}'`.
 * Sends from each of its addresses in turn (its host has them all, also those of others), with random instances. On `ports` it listens and never answers;
 * at the end it prints how many connections came: `{"dials": {"<who>": count}}`.
 */
export interface AdvertFlood {
  readonly interface: string;
  readonly addresses: readonly string[];
  readonly ports: readonly number[];
  readonly seconds: number;
  readonly perSecond: number;
}

const MDNS = { address: '224.0.0.251', port: 5353 } as const;
const { interface: own, addresses, ports, seconds, perSecond }: AdvertFlood = JSON.parse(process.argv[2] ?? '');
const dials: Record<string, number> = {};
for (const port of ports) {
  const server = net.createServer((socket) => {
    const who = socket.remoteAddress ?? '?';
    dials[who] = (dials[who] ?? 0) + 1;
    socket.on('error', () => undefined);
  });
  await new Promise<void>((resolve) => server.listen(port, '0.0.0.0', resolve));
}
const sockets = await Promise.all(
  addresses.map(async (address) => {
    const socket = dgram.createSocket({ type: 'udp4', reuseAddr: true });
    await new Promise<void>((resolve) => socket.bind(MDNS.port, address, resolve));
    socket.setMulticastInterface(own);
    socket.setMulticastTTL(255);
    return { socket, address };
  }),
);
const begin = performance.now();
let sent = 0;
while (performance.now() - begin < seconds * 1000) {
  for (; sent < ((performance.now() - begin) / 1000) * perSecond; sent++) {
    const from = sockets[sent % sockets.length];
    const kind = sent % 4 === 0 ? 'gateway' : 'agent';
    const port = ports[sent % ports.length] ?? 1;
    const answers = printAdvert({ kind, port, instance: crypto.randomUUID() }, from?.address ?? own);
    from?.socket.send(response(answers), MDNS.port, MDNS.address);
  }
  await new Promise((resolve) => setTimeout(resolve, 5));
}
process.stdout.write(`${JSON.stringify({ sent, dials })}\n`);
process.exit(0);

/** A DNS response (RFC 1035, 4.1) with these records, names in full. */
function response(records: ReturnType<typeof printAdvert>): Buffer {
  const head = Buffer.from([0, 0, 0x84, 0, 0, 0, 0, records.length, 0, 0, 0, 0]);
  return Buffer.concat([head, ...records.flatMap((record) => [nameOf(record.name), bodyOf(record)])]);
}

function bodyOf({ type, ttl, data }: ReturnType<typeof printAdvert>[number]): Buffer {
  const content = contentOf(type, data);
  const head = Buffer.alloc(10);
  head.writeUInt16BE({ A: 1, PTR: 12, TXT: 16, SRV: 33 }[type], 0);
  head.writeUInt16BE(1, 2);
  head.writeUInt32BE(ttl, 4);
  head.writeUInt16BE(content.length, 8);
  return Buffer.concat([head, content]);
}

function contentOf(type: string, data: unknown): Buffer {
  if (type === 'A') return Buffer.from(String(data).split('.').map(Number));
  if (type === 'PTR') return nameOf(String(data));
  if (Array.isArray(data)) return Buffer.concat(data.flatMap((text: Buffer) => [Buffer.from([text.length]), text]));
  const numbers = Buffer.alloc(6);
  const isService = typeof data === 'object' && data !== null && 'port' in data && 'target' in data;
  if (!isService) return numbers;
  numbers.writeUInt16BE(Number(data.port), 4);
  return Buffer.concat([numbers, nameOf(String(data.target))]);
}

function nameOf(name: string): Buffer {
  return Buffer.concat([...name.split('.').map((label) => Buffer.concat([Buffer.from([label.length]), Buffer.from(label)])), Buffer.from([0])]);
}
