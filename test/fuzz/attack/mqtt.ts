import fc from 'fast-check';
import { noise, strangeJson } from '../mutation.ts';
import { topicText } from './topics.ts';

/** MQTT 3.1.1 packets as they should be, as they should not be, and neither. */

/** What a session says of itself, unless it lies. */
export interface Speaker {
  readonly clientId: string;
}

function text(value: string | Buffer): Buffer {
  const bytes = typeof value === 'string' ? Buffer.from(value) : value;
  const length = Buffer.alloc(2);
  length.writeUInt16BE(Math.min(bytes.length, 0xffff));
  return Buffer.concat([length, bytes.subarray(0, 0xffff)]);
}

function varint(length: number): Buffer {
  const bytes: number[] = [];
  let left = length;
  do {
    bytes.push((left % 128) | (left >= 128 ? 0x80 : 0));
    left = Math.floor(left / 128);
  } while (left > 0);
  return Buffer.from(bytes);
}

export function packet(first: number, body: Buffer): Buffer {
  return Buffer.concat([Buffer.from([first]), varint(body.length), body]);
}

export function connectPacket(
  clientId: string,
  o: { readonly flags?: number; readonly level?: number; readonly keepalive?: number; readonly name?: string; readonly tail?: Buffer } = {},
): Buffer {
  const keepalive = o.keepalive ?? 60;
  const head = Buffer.from([o.level ?? 4, o.flags ?? 2, keepalive >> 8, keepalive & 0xff]);
  return packet(0x10, Buffer.concat([text(o.name ?? 'MQTT'), head, text(clientId), o.tail ?? Buffer.alloc(0)]));
}

const badUtf8 = fc.constantFrom(
  Buffer.from([0xc0, 0x80]),
  Buffer.from([0xed, 0xa0, 0x80]),
  Buffer.from([0xff, 0xfe]),
  Buffer.from('a\0b'),
  Buffer.from([0xf4, 0x90, 0x80, 0x80]),
  Buffer.alloc(0),
);
const topic = fc.oneof({ weight: 5, arbitrary: topicText.map((value) => Buffer.from(value)) }, { weight: 1, arbitrary: badUtf8 });
const id = fc.oneof(fc.constantFrom(0, 1, 2, 0xffff), fc.nat(0xffff)).map((value) => Buffer.from([value >> 8, value & 0xff]));
const payload = fc.oneof(
  { weight: 4, arbitrary: strangeJson.map((value) => Buffer.from(JSON.stringify(value) ?? '')) },
  { weight: 2, arbitrary: noise },
  { weight: 1, arbitrary: fc.constantFrom(0, 1000, 70_000).map((size) => Buffer.alloc(size, 0x5b)) },
);

function connect(clientId: string): fc.Arbitrary<Buffer> {
  const odd = fc
    .record({
      clientId: fc.oneof(fc.constant(clientId), fc.constantFrom('', 'a'.repeat(70), '\u0000', 'x\n{"level":50}'), topicText),
      flags: fc.nat(255),
      level: fc.constantFrom(0, 3, 4, 5, 0x84, 255),
      keepalive: fc.constantFrom(0, 1, 60, 601, 0xffff),
      name: fc.constantFrom('MQTT', 'MQIsdp', '', 'mqtt', 'X'.repeat(200)),
      tail: fc.oneof(
        fc.constant(Buffer.alloc(0)),
        noise,
        // A will, a name and a password as the flags announce them or not.
        fc.tuple(topic, payload, noise).map(([willTopic, will, name]) => Buffer.concat([text(willTopic), text(will), text(name), text('secret')])),
      ),
    })
    .map(({ clientId: other, ...rest }) => connectPacket(other, rest));
  return fc.oneof({ weight: 2, arbitrary: fc.constant(connectPacket(clientId)) }, { weight: 3, arbitrary: odd });
}

const publish = fc
  .record({ flags: fc.oneof(fc.constantFrom(0, 2, 1, 3), fc.nat(15)), topic, id, payload })
  .map((p) => packet(0x30 | p.flags, Buffer.concat([text(p.topic), ...((p.flags & 6) === 0 ? [] : [p.id]), p.payload])));
const filters = fc.array(fc.tuple(topic, fc.constantFrom(0, 1, 2, 3, 0x80)), { minLength: 0, maxLength: 40 });
const subscribe = fc
  .tuple(fc.constantFrom(0x82, 0x82, 0x82, 0x80, 0x8f), id, filters)
  .map(([first, number, list]) => packet(first, Buffer.concat([number, ...list.flatMap(([filter, qos]) => [text(filter), Buffer.from([qos])])])));
const unsubscribe = fc
  .tuple(fc.constantFrom(0xa2, 0xa2, 0xa0), id, filters)
  .map(([first, number, list]) => packet(first, Buffer.concat([number, ...list.map(([filter]) => text(filter))])));
const acknowledge = fc.tuple(fc.constantFrom(0x40, 0x50, 0x62, 0x60, 0x70, 0xb0, 0x90), id).map(([first, number]) => packet(first, number));
const tiny = fc.constantFrom(
  packet(0xc0, Buffer.alloc(0)),
  packet(0xe0, Buffer.alloc(0)),
  packet(0xd0, Buffer.alloc(0)),
  packet(0xc5, Buffer.alloc(3)),
  packet(0xf0, Buffer.alloc(0)),
  packet(0x00, Buffer.alloc(0)),
);
/** Lengths that lie: too much, too little, more than four bytes, nothing behind. */
const lying = fc
  .tuple(
    fc.constantFrom(0x10, 0x30, 0x32, 0x82, 0xa2, 0x40, 0xc0),
    fc.constantFrom([0xff, 0xff, 0xff, 0x7f], [0xff, 0xff, 0xff, 0xff, 0x01], [0x80, 0x80, 0x80, 0x00], [0x00], [0x01], [0x7f], [0x80, 0x80, 0x40]),
    noise,
  )
  .map(([first, length, rest]) => Buffer.concat([Buffer.from([first, ...length]), rest]));
/** Many of one kind at once. */
const flood = fc
  .tuple(fc.oneof(publish, subscribe, unsubscribe, tiny, acknowledge), fc.constantFrom(30, 150, 400))
  .map(([one, times]) => Buffer.concat(Array.from({ length: one.length > 3000 ? 3 : times }, () => one)));

const anyPacket = fc.oneof(
  { weight: 5, arbitrary: publish },
  { weight: 4, arbitrary: subscribe },
  { weight: 2, arbitrary: unsubscribe },
  { weight: 2, arbitrary: acknowledge },
  { weight: 2, arbitrary: tiny },
  { weight: 2, arbitrary: lying },
  { weight: 1, arbitrary: noise },
  { weight: 1, arbitrary: flood },
);

function flips(): fc.Arbitrary<readonly (readonly [number, number])[]> {
  return fc.array(fc.tuple(fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true }), fc.integer({ min: 1, max: 255 })), { maxLength: 3 });
}

/** The packets of one session, mostly after a CONNECT, sometimes before one, sometimes with a second one; some with a few bits flipped. */
export function mqttPackets({ clientId }: Speaker): fc.Arbitrary<readonly Buffer[]> {
  const valid = fc.constant(connectPacket(clientId));
  const opening = fc.oneof(
    { weight: 6, arbitrary: valid.map((one) => [one]) },
    { weight: 4, arbitrary: connect(clientId).map((one) => [one]) },
    { weight: 1, arbitrary: fc.constant<Buffer[]>([]) },
  );
  const rest = fc.array(fc.oneof({ weight: 14, arbitrary: anyPacket }, { weight: 1, arbitrary: connect(clientId) }), { maxLength: 8 });
  return fc.tuple(opening, rest, fc.oneof({ weight: 3, arbitrary: fc.constant([]) }, { weight: 1, arbitrary: flips() })).map(([first, more, changes]) => {
    const packets = [...first, ...more];
    for (const [where, change] of changes) {
      const at = Math.floor(where * packets.length);
      const bytes = Buffer.from(packets[at] ?? Buffer.alloc(0));
      const inside = Math.floor(((where * 7919) % 1) * bytes.length);
      if (bytes.length > 0) bytes[inside] = (bytes[inside] ?? 0) ^ change;
      packets[at] = bytes;
    }
    return packets;
  });
}

/** A session's bytes in one. */
export const mqttStream: fc.Arbitrary<Buffer> = mqttPackets({ clientId: 'customer/acme/site/north/group/ct/device/ct-1' }).map((packets) =>
  Buffer.concat([...packets]),
);
