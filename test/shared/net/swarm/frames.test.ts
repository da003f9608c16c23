import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { z } from 'zod';
import { isWardcastError } from '../../../../shared/base/errors.ts';
import { CHUNK_MAX, MAX_CHUNKS, MAX_FRAME_INDEXES, MAX_WIRE_CHUNK } from '../../../../shared/base/limits.ts';
import { Bitfield } from '../../../../shared/net/swarm/bitfield.ts';
import { type Frame, FrameReader, printChunkHead, printFrame } from '../../../../shared/net/swarm/frames.ts';

const violation = expect.toSatisfy((error) => isWardcastError(error, 'PROTOCOL_VIOLATION'));
const hex = (text: string): Buffer => Buffer.from(text.replaceAll(' ', ''), 'hex');

const Vectors = z.array(z.object({ frame: z.record(z.string(), z.unknown()), hex: z.string() }));
const vectors = Vectors.parse(JSON.parse(readFileSync(join(import.meta.dirname, '../../../vectors/swarm-frames.json'), 'utf8')));

/** A frame as the vectors write it. */
function plain(frame: Frame): Record<string, unknown> {
  if (frame.type === 'join') return { ...frame, have: { length: frame.have.length, bytes: Buffer.from(frame.have.bytes()).toString('hex') } };
  return frame.type === 'chunk' ? { ...frame, bytes: frame.bytes.toString('hex') } : { ...frame };
}

/** Reads `stream` cut into pieces; every piece is overwritten after it was pushed, as the shared read buffer is. */
function read(stream: Buffer, cuts: Iterable<number>): Record<string, unknown>[] {
  const reader = new FrameReader();
  const seen: Frame[] = [];
  let at = 0;
  for (const cut of [...cuts, stream.length]) {
    const piece = Buffer.from(stream.subarray(at, at + cut));
    reader.push(piece, (frame) => seen.push(frame));
    piece.fill(0xee);
    at += cut;
  }
  expect(reader.clean).toBe(true);
  return seen.map(plain);
}

const u16 = fc.nat(0xffff);
const index = fc.nat(MAX_CHUNKS - 1);
const anyHash = fc.uint8Array({ minLength: 32, maxLength: 32 }).map((bytes) => Buffer.from(bytes).toString('hex'));
const anyBits = fc.nat(40).chain((length) =>
  fc.uniqueArray(fc.nat(Math.max(0, length - 1)), { maxLength: length }).map((set) => {
    const bits = new Bitfield(length);
    for (const at of set) bits.add(at);
    return bits;
  }),
);
const anyFrame: fc.Arbitrary<Frame> = fc.oneof(
  fc.record({ type: fc.constant('refused' as const), transfer: u16, code: fc.stringMatching(/^[A-Z_]{1,64}$/) }),
  fc.record({ type: fc.constant('join' as const), transfer: u16, manifest: anyHash, fetching: fc.boolean(), uploads: fc.boolean(), have: anyBits }),
  fc.record({
    type: fc.constantFrom('have' as const, 'ask' as const, 'cancel' as const),
    transfer: u16,
    indexes: fc.array(index, { minLength: 1, maxLength: 20 }),
  }),
  fc.record({ type: fc.constant('any' as const), transfer: u16, count: fc.nat(MAX_CHUNKS) }),
  fc.record({
    type: fc.constant('chunk' as const),
    transfer: u16,
    index,
    bytes: fc.uint8Array({ minLength: 1, maxLength: 60 }).map((bytes) => Buffer.from(bytes)),
  }),
  fc.record({ type: fc.constant('absent' as const), transfer: u16, index, reason: fc.constantFrom('absent' as const, 'busy' as const) }),
  fc.record({ type: fc.constant('leave' as const), transfer: u16 }),
  fc.record({ type: fc.constant('got' as const), transfer: u16, index }),
);

describe('frames of the swarm', () => {
  const whole = Buffer.concat(vectors.map((vector) => hex(vector.hex)));
  const expected = vectors.map((vector) => vector.frame);

  it('are read as the golden vectors say: whole, byte by byte, and cut at every place', () => {
    expect(read(whole, [])).toEqual(expected);
    expect(
      read(
        whole,
        Array.from({ length: whole.length }, () => 1),
      ),
    ).toEqual(expected);
    for (let cut = 1; cut < whole.length; cut++) expect(read(whole, [cut])).toEqual(expected);
  });

  it.each(vectors.map((vector) => [String(vector.frame['type']), vector] as const))('are printed as the golden vectors say: %s', (_type, vector) => {
    const frames: Frame[] = [];
    new FrameReader().push(hex(vector.hex), (frame) => frames.push(frame));
    expect(Buffer.concat(frames.map(printFrame))).toEqual(hex(vector.hex));
  });

  it('law: whatever is printed is read again, however the stream is cut', () => {
    fc.assert(
      fc.property(fc.array(anyFrame, { maxLength: 12 }), fc.array(fc.integer({ min: 1, max: 80 })), (frames, cuts) => {
        expect(read(Buffer.concat(frames.map(printFrame)), cuts)).toEqual(frames.map(plain));
      }),
    );
  });

  it('law: noise never does more than be refused', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 200 }), (noise) => {
        try {
          new FrameReader().push(Buffer.from(noise), () => undefined);
        } catch (error) {
          expect(error).toEqual(violation);
        }
      }),
    );
  });

  it('a chunk has a buffer of its own, of exactly its size', () => {
    const bytes = Buffer.alloc(CHUNK_MAX, 7);
    const stream = Buffer.concat([printChunkHead(1, 2, bytes.length), bytes]);
    const seen: Frame[] = [];
    new FrameReader().push(stream, (frame) => seen.push(frame));
    stream.fill(0);
    const [frame] = seen;
    if (frame?.type !== 'chunk') throw new Error('no chunk');
    expect(frame.bytes.equals(bytes)).toBe(true);
    expect(frame.bytes.buffer.byteLength).toBe(CHUNK_MAX);
  });

  it.each([
    ['of an unknown type', '00000003 0a 0001'],
    ['shorter than a head', '00000002 08'.padEnd(20, '0')],
    ['without length', '00000000 08 0001'],
    ['of the greatest length', 'ffffffff 05 0001'],
    ['leave with a body', '00000004 08 0001 00'],
    ['a list of half an index', '00000005 02 0001 0000'],
    ['an empty list', '00000003 03 0001'],
    ['an index beyond all chunks', '00000007 09 0001 000f4240'],
    ['a list with an index beyond all chunks', '0000000b 02 0001 00000000 000f4240'],
    ['a chunk with an index beyond all chunks', '00000008 05 0001 000f4240 00'],
    ['any of too many', '00000007 04 0001 000f4241'],
    ['an empty chunk', '00000007 05 0001 00000000'],
    ['a reason unknown', '00000008 06 0001 00000000 02'],
    ['a join with flags unknown', `0000002a 01 0001 ${'00'.repeat(32)} 04 0000000a 8040`],
    ['a join with too few bits', `00000029 01 0001 ${'00'.repeat(32)} 01 0000000a 80`],
    ['a join with bits beyond the last', `0000002a 01 0001 ${'00'.repeat(32)} 01 0000000a 8041`],
    ['a join of too many chunks', `0000002a 01 0001 ${'00'.repeat(32)} 01 000f4241 8040`],
    ['a refusal that is no code', '00000004 00 0000 1b'],
  ])('are refused: %s', (_what, bytes) => {
    for (const cuts of [[], Array.from({ length: 60 }, () => 1)]) expect(() => read(hex(bytes), cuts)).toThrow(violation);
  });

  it('are refused by their head alone, before memory is taken for them', () => {
    expect(() => new FrameReader().push(printChunkHead(1, 1, MAX_WIRE_CHUNK + 1).subarray(0, 7), () => undefined)).toThrow(violation);
    const list = Buffer.alloc(7);
    list.writeUInt32BE(3 + 4 * (MAX_FRAME_INDEXES + 1), 0);
    list.writeUInt8(2, 4);
    expect(() => new FrameReader().push(list, () => undefined)).toThrow(violation);
  });

  it('that are not complete are known to be so', () => {
    const reader = new FrameReader();
    reader.push(printFrame({ type: 'got', transfer: 1, index: 1 }).subarray(0, 8), () => undefined);
    expect(reader.clean).toBe(false);
  });
});
