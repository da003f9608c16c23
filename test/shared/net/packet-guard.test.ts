import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { MAX_CONNECT_PACKET, MAX_PACKET } from '../../../shared/base/limits.ts';
import { CONNECT, PacketGuard } from '../../../shared/net/packet-guard.ts';

function remainingLength(length: number): number[] {
  const bytes: number[] = [];
  let left = length;
  do {
    bytes.push((left % 128) | (left >= 128 ? 0x80 : 0));
    left = Math.floor(left / 128);
  } while (left > 0);
  return bytes;
}

function packet(type: number, length: number): Buffer {
  return Buffer.concat([Buffer.from([type, ...remainingLength(length)]), Buffer.alloc(length, 0xff)]);
}

/** Pushes the bytes in the given pieces and says how it went. */
function follow(bytes: Buffer, cuts: readonly number[], limits: { firstLimit?: number; limit?: number } = {}): { wrong: string | undefined; packets: number } {
  const guard = new PacketGuard({ first: CONNECT, ...limits });
  const points = [0, ...cuts.map((cut) => cut % (bytes.length + 1)).toSorted((a, b) => a - b), bytes.length];
  let wrong: string | undefined;
  for (const [index, point] of points.entries()) wrong = guard.push(bytes.subarray(points[index - 1] ?? 0, point));
  return { wrong, packets: guard.packets };
}

describe('The packet guard', () => {
  it('says the same however the bytes are split', () => {
    const stream = fc
      .array(fc.record({ type: fc.integer({ min: 1, max: 14 }), length: fc.integer({ min: 0, max: 400 }) }), { maxLength: 12 })
      .map((packets) => Buffer.concat([packet(CONNECT, 20), ...packets.map(({ type, length }) => packet(type << 4, length))]));
    fc.assert(
      fc.property(stream, fc.array(fc.nat(), { maxLength: 30 }), fc.integer({ min: 50, max: 500 }), (bytes, cuts, limit) => {
        const whole = follow(bytes, [], { limit });
        expect(follow(bytes, cuts, { limit })).toEqual(whole);
        expect(follow(bytes, [...bytes.keys()], { limit })).toEqual(whole);
      }),
    );
  });

  it('says the same of any bytes at all, however they are split', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 2000 }), fc.array(fc.nat(), { maxLength: 30 }), (noise, cuts) => {
        const bytes = Buffer.concat([packet(CONNECT, 10), noise]);
        expect(follow(bytes, cuts, { limit: 300 })).toEqual(follow(bytes, [], { limit: 300 }));
      }),
    );
  });

  it('counts packets of every length that fits', () => {
    const bytes = Buffer.concat([packet(CONNECT, 50), ...[0, 1, 127, 128, 16_383, 16_384, MAX_PACKET - 4].map((length) => packet(0x30, length))]);
    expect(follow(bytes, [])).toEqual({ wrong: undefined, packets: 8 });
  });

  it('refuses a first packet that is no CONNECT', () => {
    expect(follow(packet(0x30, 5), []).wrong).toContain('first packet is of type 3');
  });

  it('refuses a CONNECT over its own smaller limit, before its body came', () => {
    const header = packet(CONNECT, MAX_CONNECT_PACKET).subarray(0, 3);
    expect(follow(header, []).wrong).toContain('over the limit');
  });

  it('refuses a later packet over the limit, before its body came', () => {
    const header = Buffer.concat([packet(CONNECT, 10), packet(0x30, MAX_PACKET).subarray(0, 4)]);
    expect(follow(header, []).wrong).toContain('over the limit');
  });

  it('refuses a length of more than four bytes', () => {
    expect(follow(Buffer.from([CONNECT, 0x80, 0x80, 0x80, 0x80, 0x01]), [], { firstLimit: 1e9 }).wrong).toContain('more than four bytes');
  });

  it('stays at its verdict', () => {
    const guard = new PacketGuard({ first: CONNECT });
    const wrong = guard.push(Buffer.from([0x20]));
    expect(wrong).toBeDefined();
    expect(guard.push(packet(CONNECT, 5))).toBe(wrong);
  });
});
