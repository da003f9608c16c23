import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { isWardcastError } from '../../../shared/base/errors.ts';
import { ABSENT_FRAME, FrameParser, frameHeader, parseHashes, printHashes } from '../../../shared/net/chunk-frames.ts';

const hexOf = (frame: Buffer | undefined): string | undefined => frame?.toString('hex');

describe('frames', () => {
  it('law: however the stream is split, the same frames come out', () => {
    const frames = fc.array(fc.option(fc.uint8Array({ maxLength: 40 }), { nil: undefined }), { maxLength: 10 });
    fc.assert(
      fc.property(frames, fc.array(fc.integer({ min: 1, max: 30 })), (contents, cuts) => {
        const stream = Buffer.concat(
          contents.flatMap((content) => (content === undefined ? [ABSENT_FRAME] : [frameHeader(content.length), Buffer.from(content)])),
        );
        const parser = new FrameParser(40);
        const seen: (string | undefined)[] = [];
        let at = 0;
        for (const cut of [...cuts, stream.length]) {
          for (const frame of parser.push(stream.subarray(at, at + cut))) seen.push(hexOf(frame));
          at += cut;
        }
        expect(seen).toEqual(contents.map((content) => (content === undefined ? undefined : Buffer.from(content).toString('hex'))));
        expect(parser.clean).toBe(true);
      }),
    );
  });

  it('knows that a stream ended in the middle', () => {
    for (const part of [frameHeader(5).subarray(0, 2), frameHeader(5), Buffer.concat([frameHeader(5), Buffer.from('ab')])]) {
      const parser = new FrameParser(10);
      expect([...parser.push(part)]).toEqual([]);
      expect(parser.clean).toBe(false);
    }
  });

  it('refuses a frame over the limit before it takes memory for it', () => {
    const parser = new FrameParser(10);
    expect(() => [...parser.push(frameHeader(11))]).toThrow(expect.toSatisfy((error) => isWardcastError(error, 'PROTOCOL_VIOLATION')));
    expect(() => [...new FrameParser(10).push(frameHeader(0xfffffffe))]).toThrow(expect.toSatisfy((error) => isWardcastError(error, 'PROTOCOL_VIOLATION')));
  });
});

describe('lists of hashes', () => {
  it('law: parse ∘ print is the identity', () => {
    const hash = fc.uint8Array({ minLength: 32, maxLength: 32 }).map((bytes) => Buffer.from(bytes).toString('hex'));
    fc.assert(
      fc.property(fc.array(hash, { minLength: 1, maxLength: 10 }), (hashes) => {
        expect(parseHashes(printHashes(hashes))).toEqual(hashes);
      }),
    );
  });

  it('are refused when cut or empty', () => {
    expect(parseHashes(Buffer.alloc(0))).toBeUndefined();
    expect(parseHashes(Buffer.alloc(33))).toBeUndefined();
  });
});
