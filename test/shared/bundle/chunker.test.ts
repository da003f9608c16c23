import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { CHUNK_AVG, CHUNK_MAX, CHUNK_MIN, MAX_PAYLOAD } from '../../../shared/base/limits.ts';
import { Chunker, type ChunkSizes, split } from '../../../shared/bundle/chunker.ts';
import { sha256 } from '../../../shared/bundle/digest.ts';
import { seededRandom } from '../../support/random.ts';

const SMALL: ChunkSizes = { min: 64, avg: 256, max: 1024 };

/** Not quite random and not quite regular, as software is. */
function content(seed: number, length: number): Buffer {
  const random = seededRandom(seed);
  const bytes = Buffer.alloc(length);
  for (let at = 0; at < length; at++) bytes[at] = random() * (at % 4096 < 512 ? 4 : 256);
  return bytes;
}

function streamed(bytes: Buffer, cuts: Iterable<number>, sizes: ChunkSizes): Buffer[] {
  const chunker = new Chunker(sizes);
  const chunks: Buffer[] = [];
  let from = 0;
  for (const step of cuts) {
    chunks.push(...chunker.push(bytes.subarray(from, from + step)));
    from += step;
  }
  return [...chunks, ...chunker.push(bytes.subarray(from)), ...chunker.end()];
}

const hashes = (chunks: Iterable<Buffer>): string[] => [...chunks].map(sha256);

describe('content-defined chunking', () => {
  it('gives back what it split: assemble(split(x)) = x', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 20_000 }), (array) => {
        const bytes = Buffer.from(array);
        expect(Buffer.concat([...split(bytes, SMALL)]).equals(bytes)).toBe(true);
      }),
      { numRuns: 100 },
    );
  });

  it('cuts a stream exactly where it cuts the whole, however the stream is cut up', () => {
    fc.assert(
      fc.property(fc.integer(), fc.integer({ min: 0, max: 20_000 }), fc.array(fc.integer({ min: 0, max: 3000 }), { maxLength: 40 }), (seed, length, steps) => {
        const bytes = content(seed, length);
        expect(hashes(streamed(bytes, steps, SMALL))).toEqual(hashes(split(bytes, SMALL)));
      }),
      { numRuns: 100 },
    );
  });

  it('cuts a stream of single bytes where it cuts the whole, with the real sizes', () => {
    const bytes = content(7, 700_000);
    expect(
      hashes(
        streamed(
          bytes,
          Array.from({ length: bytes.length }, () => 1),
          { min: CHUNK_MIN, avg: CHUNK_AVG, max: CHUNK_MAX },
        ),
      ),
    ).toEqual(hashes(split(bytes)));
  });

  it('keeps every chunk between the bounds; only the last may be smaller', () => {
    const chunks = [...split(content(1, 8_000_000))];
    expect(chunks.length).toBeGreaterThan(50);
    for (const chunk of chunks.slice(0, -1)) {
      expect(chunk.length).toBeGreaterThan(CHUNK_MIN);
      expect(chunk.length).toBeLessThanOrEqual(CHUNK_MAX);
    }
    expect(chunks.at(-1)?.length).toBeLessThanOrEqual(CHUNK_MAX);
    const mean = 8_000_000 / chunks.length;
    expect(mean).toBeGreaterThan(CHUNK_AVG / 2);
    expect(mean).toBeLessThan(CHUNK_AVG * 2);
  });

  it('cuts a constant into chunks of one size', () => {
    const chunks = [...split(Buffer.alloc(5 * CHUNK_MAX))];
    expect(new Set(hashes(chunks)).size).toBe(1);
  });

  it('has no chunk for nothing', () => {
    expect([...split(Buffer.alloc(0))]).toEqual([]);
    expect(new Chunker().end()).toEqual([]);
  });

  it('finds the old chunks again after an insertion near the front', () => {
    const old = content(3, 4_000_000);
    const moved = Buffer.concat([old.subarray(0, 100_000), Buffer.from('a few new bytes'), old.subarray(100_000)]);
    const have = new Set(hashes(split(old)));
    const missing = [...split(moved)].filter((chunk) => !have.has(sha256(chunk)));
    expect(missing.length).toBeLessThanOrEqual(3);
  });

  it('may be used again after its end', () => {
    const bytes = content(9, 5000);
    const chunker = new Chunker(SMALL);
    const once = [...chunker.push(bytes), ...chunker.end()];
    expect(hashes([...chunker.push(bytes), ...chunker.end()])).toEqual(hashes(once));
  });

  it('leaves room for a header in one message', () => {
    expect(CHUNK_MAX).toBeLessThanOrEqual(MAX_PAYLOAD / 2);
  });
});
