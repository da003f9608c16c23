import tls, { type SecureContext, type TLSSocket } from 'node:tls';

/** As little of an MQTT 3.1.1 client as a load needs, over TLS: what costs is the broker's side. */

export interface RawClient {
  readonly socket: TLSSocket;
  /** Called for every packet but CONNACK: its type (table 2.1) and its bytes, header included. */
  onPacket: (type: number, packet: Buffer) => void;
}

const text = (value: string): Buffer => Buffer.concat([u16(Buffer.byteLength(value)), Buffer.from(value)]);
const u16 = (value: number): Buffer => Buffer.from([value >> 8, value & 255]);

function packet(first: number, ...parts: readonly Buffer[]): Buffer {
  const body = Buffer.concat(parts);
  const length: number[] = [];
  let left = body.length;
  do {
    length.push((left & 127) | (left > 127 ? 128 : 0));
    left >>= 7;
  } while (left > 0);
  return Buffer.concat([Buffer.from([first, ...length]), body]);
}

export const publish = (topic: string, id: number, payload: Buffer): Buffer => packet(0x32, text(topic), u16(id), payload);
export const puback = (id: number): Buffer => packet(0x40, u16(id));
export const subscribe = (filter: string): Buffer => packet(0x82, u16(1), text(filter), Buffer.from([1]));

/** The packet id of a PUBLISH with QoS 1. */
export function idOf(bytes: Buffer): number {
  let header = 1;
  while (((bytes[header] ?? 0) & 128) !== 0) header++;
  header++;
  return bytes.readUInt16BE(header + 2 + bytes.readUInt16BE(header));
}

/** Resolves when CONNACK said yes. */
export function connect(o: { host?: string; port: number; context: SecureContext; clientId: string }): Promise<RawClient> {
  return new Promise((resolve, reject) => {
    const socket = tls.connect({
      host: o.host ?? '127.0.0.1',
      port: o.port,
      secureContext: o.context,
      ALPNProtocols: ['mqtt'],
      checkServerIdentity: () => undefined,
    });
    const client: RawClient = { socket, onPacket: () => undefined };
    let rest: Buffer = Buffer.alloc(0);
    socket.setNoDelay(true);
    socket.once('secureConnect', () => socket.write(packet(0x10, text('MQTT'), Buffer.from([4, 2, 0, 60]), text(o.clientId))));
    socket.on('data', (bytes: Buffer) => {
      rest = rest.length === 0 ? bytes : Buffer.concat([rest, bytes]);
      for (let size = sizeOf(rest); size !== undefined && rest.length >= size; size = sizeOf(rest)) {
        const one = rest.subarray(0, size);
        rest = rest.subarray(size);
        const type = (one[0] ?? 0) >> 4;
        if (type !== 2) client.onPacket(type, one);
        else if (one[3] === 0) resolve(client);
        else reject(new Error(`CONNACK ${one[3]}`));
      }
    });
    socket.once('error', reject);
    socket.once('close', () => reject(new Error('closed before CONNACK')));
  });
}

/** Bytes of the packet that begins here, when its header is here whole. */
function sizeOf(bytes: Buffer): number | undefined {
  let length = 0;
  for (let at = 1; at < Math.min(5, bytes.length); at++) {
    const byte = bytes[at] ?? 0;
    length += (byte & 127) * 128 ** (at - 1);
    if ((byte & 128) === 0) return at + 1 + length;
  }
  return undefined;
}
