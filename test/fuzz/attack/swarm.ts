import fc from 'fast-check';
import { CHUNK_MAX, MAX_CHUNKS } from '../../../shared/base/limits.ts';
import { Bitfield } from '../../../shared/net/swarm/bitfield.ts';
import { type Frame, printFrame } from '../../../shared/net/swarm/frames.ts';
import { mutated, noise } from '../mutation.ts';

/** Frames of the swarm: well-formed ones in senseless order, malformed ones, lengths that lie. */

const transfer = fc.constantFrom(0, 1, 2, 0xffff);
const index = fc.oneof(fc.constantFrom(0, 1, 2, 3, 20, MAX_CHUNKS - 1), fc.nat(MAX_CHUNKS - 1));

function frame(manifests: readonly { readonly hash: string; readonly chunks: number }[]): fc.Arbitrary<Frame> {
  const join = fc
    .tuple(transfer, fc.constantFrom(...manifests), fc.constantFrom(0, 1, undefined), fc.boolean(), fc.boolean(), fc.boolean())
    .map(([number, { hash, chunks }, length, fetching, uploads, full]) => {
      const count = length ?? chunks;
      return { type: 'join' as const, transfer: number, manifest: hash, fetching, uploads, have: full ? Bitfield.full(count) : new Bitfield(count) };
    });
  return fc.oneof(
    { weight: 4, arbitrary: join },
    {
      weight: 6,
      arbitrary: fc.record({
        type: fc.constantFrom('have' as const, 'ask' as const, 'cancel' as const),
        transfer,
        indexes: fc.array(index, { minLength: 1, maxLength: 60 }),
      }),
    },
    { weight: 2, arbitrary: fc.record({ type: fc.constant('any' as const), transfer, count: fc.constantFrom(0, 1, 5, 100, MAX_CHUNKS) }) },
    {
      weight: 2,
      arbitrary: fc.record({ type: fc.constant('chunk' as const), transfer, index, bytes: fc.constantFrom(1, 100, 5000).map((size) => Buffer.alloc(size, 9)) }),
    },
    { weight: 2, arbitrary: fc.record({ type: fc.constant('absent' as const), transfer, index, reason: fc.constantFrom('absent' as const, 'busy' as const) }) },
    { weight: 2, arbitrary: fc.record({ type: fc.constant('leave' as const), transfer }) },
    { weight: 2, arbitrary: fc.record({ type: fc.constant('got' as const), transfer, index }) },
    {
      weight: 1,
      arbitrary: fc.record({ type: fc.constant('refused' as const), transfer, code: fc.constantFrom('BUSY', 'CERT_EXPIRED', 'NO_SUCH_CODE', 'A') }),
    },
  );
}

const lying = fc
  .tuple(fc.constantFrom(0, 1, 2, 3, 4, 0x7fffffff, 0xffffffff, CHUNK_MAX + 7, CHUNK_MAX + 8), fc.nat(255), fc.nat(0xffff), noise)
  .map(([length, type, number, rest]) => {
    const head = Buffer.alloc(7);
    head.writeUInt32BE(length, 0);
    head.writeUInt8(type, 4);
    head.writeUInt16BE(number, 5);
    return Buffer.concat([head, rest]);
  });

/** What one connection says; `manifests`: of some the other side has heard, of some not. */
export function swarmFrames(manifests: readonly { readonly hash: string; readonly chunks: number }[]): fc.Arbitrary<readonly Buffer[]> {
  const good = frame(manifests).map(printFrame);
  const bent = good.chain((bytes) => mutated([bytes]));
  const flood = fc.tuple(good, fc.constantFrom(50, 400)).map(([one, times]) => Buffer.concat(Array.from({ length: one.length > 3000 ? 3 : times }, () => one)));
  return fc.array(
    fc.oneof(
      { weight: 12, arbitrary: good },
      { weight: 1, arbitrary: bent },
      { weight: 1, arbitrary: lying },
      { weight: 1, arbitrary: flood },
      { weight: 1, arbitrary: noise },
    ),
    { minLength: 1, maxLength: 14 },
  );
}

export const frameBytes: fc.Arbitrary<Buffer> = swarmFrames([{ hash: 'ab'.repeat(32), chunks: 9 }]).map((frames) => Buffer.concat([...frames]));
