import { zstdCompressSync } from 'node:zlib';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { WardcastError } from '../../../shared/base/errors.ts';
import { CHUNK_MAX } from '../../../shared/base/limits.ts';
import { ChunkCodec, keysOf, packChunk, plainHash, SEAL_BYTES, wireSize } from '../../../shared/bundle/chunk-form.ts';
import { contentKeyId, newContentKey } from '../../../shared/bundle/content-key.ts';
import { sha256 } from '../../../shared/bundle/digest.ts';
import { bytesOf } from '../../support/files.ts';

const key = Buffer.alloc(32, 7);
const id = contentKeyId(key);
const sealed = new ChunkCodec({ encryption: { keys: [id] } }, new Map([[id, key]]));
const open = new ChunkCodec({});
const noise = bytesOf('noise', 20_000);
const text = Buffer.from('the same sentence over and over; '.repeat(500));
/** Compressible, incompressible, and mixed. */
const content = fc.oneof(
  fc.uint8Array({ minLength: 1, maxLength: 5000 }),
  fc.tuple(fc.string({ minLength: 1, maxLength: 40 }), fc.integer({ min: 1, max: 200 })).map(([word, times]) => new TextEncoder().encode(word.repeat(times))),
);
const codeOf = (work: () => unknown): string | undefined => {
  try {
    work();
  } catch (error) {
    return error instanceof WardcastError ? error.code : String(error);
  }
  return undefined;
};

describe('the wire form of a chunk', () => {
  it('gives the content back, is named by its own hash and made again bit by bit', () => {
    fc.assert(
      fc.property(content, fc.boolean(), (bytes, encrypted) => {
        const buffer = Buffer.from(bytes);
        const codec = encrypted ? sealed : open;
        const { chunk, wire } = packChunk(buffer, encrypted ? { key, index: 0 } : undefined);
        expect(sha256(wire)).toBe(chunk.hash);
        expect([wireSize(chunk), plainHash(chunk), chunk.size]).toEqual([wire.length, sha256(buffer), buffer.length]);
        expect(codec.decode(wire, chunk).equals(buffer)).toBe(true);
        expect(codec.encode(buffer, chunk)?.equals(wire)).toBe(true);
      }),
    );
  });

  it('compresses what gets smaller by it, and leaves as it is what does not', () => {
    expect(wireSize(packChunk(text).chunk)).toBeLessThan(text.length / 10);
    expect(packChunk(noise).chunk).toEqual({ hash: sha256(noise), size: noise.length });
    expect(wireSize(packChunk(noise, { key, index: 0 }).chunk)).toBe(noise.length + SEAL_BYTES);
    // Compressed before: once more would be for nothing.
    expect(packChunk(zstdCompressSync(bytesOf('compressed', 30_000))).chunk.wire).toBeUndefined();
  });

  it('encrypted shows nothing of the content, and is another under another key', () => {
    const { wire } = packChunk(text, { key, index: 0 });
    expect(wire.includes(Buffer.from('sentence'))).toBe(false);
    expect(packChunk(noise, { key, index: 0 }).wire.includes(noise.subarray(100, 116))).toBe(false);
    expect(packChunk(text, { key: newContentKey(), index: 0 }).chunk.hash).not.toBe(packChunk(text, { key, index: 0 }).chunk.hash);
  });

  it('is refused with any bit of it flipped, cut off or longer', () => {
    fc.assert(
      fc.property(content, fc.nat(), fc.constantFrom('flip', 'cut', 'longer'), (bytes, at, how) => {
        const { chunk, wire } = packChunk(Buffer.from(bytes), { key, index: 0 });
        const other =
          how === 'longer' ? Buffer.concat([wire, Buffer.from([at & 255])]) : Buffer.from(how === 'cut' ? wire.subarray(0, at % wire.length) : wire);
        if (how === 'flip') other[at % other.length] = (other[at % other.length] ?? 0) ^ (1 << (at % 8));
        expect(codeOf(() => sealed.decode(other, chunk))).toBe('HASH_MISMATCH');
      }),
    );
  });

  it('that is a bomb ends at the size that the manifest names', () => {
    const bomb = zstdCompressSync(Buffer.alloc(CHUNK_MAX * 100));
    const chunk = { hash: sha256(bomb), size: bomb.length + 1, wire: bomb.length, plain: sha256(Buffer.alloc(CHUNK_MAX * 100)) };
    const before = process.memoryUsage().arrayBuffers;
    expect(codeOf(() => open.decode(bomb, chunk))).toBe('HASH_MISMATCH');
    expect(process.memoryUsage().arrayBuffers - before).toBeLessThan(CHUNK_MAX * 4);
  });

  it('of a signer that lied about the content is refused by its hash', () => {
    const { chunk, wire } = packChunk(text, { key, index: 0 });
    expect(codeOf(() => sealed.decode(wire, { ...chunk, plain: sha256(noise) }))).toBe('HASH_MISMATCH');
    const small = packChunk(text);
    expect(codeOf(() => open.decode(small.wire, { ...small.chunk, size: text.length - 1 }))).toBe('HASH_MISMATCH');
    expect(codeOf(() => open.decode(small.wire, { ...small.chunk, plain: sha256(noise) }))).toBe('HASH_MISMATCH');
  });

  it('cannot be read without its key, nor with another one', () => {
    const { chunk, wire } = packChunk(text, { key, index: 0 });
    const without = new ChunkCodec({ encryption: { keys: [id] } });
    expect(codeOf(() => without.decode(wire, chunk))).toBe('CONTENT_KEY_ABSENT');
    expect(codeOf(() => without.encode(text, chunk))).toBe('CONTENT_KEY_ABSENT');
    expect(codeOf(() => without.requireKeys())).toBe('CONTENT_KEY_ABSENT');
    expect(codeOf(() => sealed.requireKeys())).toBeUndefined();
    const wrong = new ChunkCodec({ encryption: { keys: [id] } }, new Map([[id, newContentKey()]]));
    expect(codeOf(() => wrong.decode(wire, chunk))).toBe('HASH_MISMATCH');
  });

  it('that this zstd makes otherwise than the signer’s is not made at all', () => {
    const { chunk } = packChunk(text);
    expect(open.encode(text, { ...chunk, hash: sha256(noise) })).toBeUndefined();
    expect(open.encode(noise, { hash: sha256(text), size: noise.length, wire: 100, plain: sha256(noise) })).toBeUndefined();
  });
});

describe('a content key', () => {
  it('is named by an id that commits to it, and found among others by it', () => {
    const other = newContentKey();
    expect(contentKeyId(key)).not.toBe(contentKeyId(other));
    expect(contentKeyId(key)).not.toContain(key.toString('hex').slice(0, 16));
    expect(keysOf({ encryption: { keys: [id] } }, [other, key])).toEqual(new Map([[id, key]]));
    expect(keysOf({}, [key])).toEqual(new Map());
  });
});
