import { Metadata, Signature, Timestamp } from '@tufjs/models';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { canonicalJson } from '../../../shared/bundle/canonical.ts';

/** The text over which @tufjs/models signs a timestamp that carries this value. */
function signedByLibrary(value: string): string {
  let text = '';
  const signed = new Timestamp({ version: 1, specVersion: '1.0.31', expires: '2126-01-01T00:00:00Z', unrecognizedFields: { value } });
  new Metadata(signed).sign((bytes) => {
    text = bytes.toString();
    return new Signature({ keyID: 'x', sig: '' });
  });
  return text;
}

describe('canonical JSON', () => {
  it('sorts keys, writes no white space and leaves out what is undefined', () => {
    expect(canonicalJson({ b: [1, 'ü', null, true], a: { z: -0, y: '"\\' }, c: undefined }).toString()).toBe(
      '{"a":{"y":"\\"\\\\","z":0},"b":[1,"ü",null,true]}',
    );
  });

  it('writes the same bytes as the library with which tuf-js verifies', () => {
    const text = fc.string({ unit: 'grapheme' }).filter((s) => s.isWellFormed() && !/\p{Cc}/u.test(s));
    const { value } = fc.letrec<{ value: unknown }>((tie) => ({
      value: fc.oneof(
        { depthSize: 'small' },
        fc.maxSafeInteger(),
        text,
        fc.boolean(),
        fc.constant(null),
        fc.array(tie('value')),
        fc.dictionary(text, tie('value')),
      ),
    }));
    fc.assert(
      fc.property(value, (sample) => {
        const json = JSON.parse(JSON.stringify(sample));
        const bytes = canonicalJson(json);
        expect(signedByLibrary(json)).toContain(bytes.toString());
        expect(JSON.parse(bytes.toString())).toEqual(json);
      }),
    );
  });

  it.each([1.5, Number.NaN, Number.POSITIVE_INFINITY, 2 ** 53, 'line\nbreak', 'nul\0', '\ud800'])('refuses %j, which has no such form', (value) => {
    expect(() => canonicalJson({ value })).toThrow(expect.objectContaining({ code: 'INTERNAL' }));
  });
});
