import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { isWardcastError } from '../../../../shared/base/errors.ts';
import { Assembly } from '../../../../shared/net/exchange/assembly.ts';
import { objectTopic, parseObjectTopic } from '../../../../shared/net/exchange/object-ref.ts';
import { parseDown } from '../../../../shared/wire/topics.ts';
import { GATEWAY } from '../../../support/broker-rig.ts';

describe('an assembly', () => {
  it('law: parts in any order, some twice, give the whole once', () => {
    const parts = fc.array(fc.uint8Array({ minLength: 1, maxLength: 20 }), { minLength: 1, maxLength: 8 });
    fc.assert(
      fc.property(parts, fc.infiniteStream(fc.nat(1000)), (contents, random) => {
        const buffers = contents.map((content) => Buffer.from(content));
        const order = [...buffers.keys(), ...buffers.keys()].map((part) => [random.next().value, part] as const).sort(([a], [b]) => a - b);
        const assembly = new Assembly(buffers.length, 1000);
        const wholes: Buffer[] = [];
        for (const [, part] of order) {
          // A finished object is not added to: the puller forgets it.
          if (wholes.length > 0) break;
          const whole = assembly.add(part, buffers[part] ?? Buffer.alloc(0));
          if (whole !== undefined) wholes.push(whole);
        }
        expect(wholes.map((whole) => whole.toString('hex'))).toEqual([Buffer.concat(buffers).toString('hex')]);
      }),
    );
  });

  it('refuses more bytes than allowed, and a million empty parts', () => {
    const limit = (error: unknown): boolean => isWardcastError(error, 'LIMIT_EXCEEDED');
    const large = new Assembly(3, 10);
    large.add(0, Buffer.alloc(9));
    expect(() => large.add(1, Buffer.alloc(2))).toThrow(expect.toSatisfy(limit));
    expect(() => new Assembly(999_999, 10).add(0, Buffer.alloc(0))).toThrow(expect.toSatisfy(limit));
  });

  it('passes a single part on uncopied', () => {
    const bytes = Buffer.from('whole');
    expect(new Assembly(1, 10).add(0, bytes)).toBe(bytes);
  });
});

describe('an object topic', () => {
  it('is read back as written', () => {
    const ref = { group: 'ct', kind: 'metadata', name: '3.snapshot.json' } as const;
    const parsed = parseDown(GATEWAY, objectTopic(GATEWAY, ref, 1, 3));
    expect(parseObjectTopic(parsed?.rest ?? [])).toEqual({ ref, part: 1, parts: 3 });
  });

  it.each([
    'ct/chunk/abc/1/1',
    'ct/chunk/abc/0/0',
    'ct/chunk/abc/-1/2',
    'ct/chunk/abc/01/2',
    'ct/chunk/abc/0',
    'ct/other/abc/0/1',
    'ct/chunk/a b/0/1',
    'ct/chunk/abc/0/1/2',
    'ct/chunk/abc/0/99999999',
  ])('is refused as %s', (rest) => expect(parseObjectTopic(rest.split('/'))).toBeUndefined());
});
