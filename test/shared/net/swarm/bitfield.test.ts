import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { isWardcastError } from '../../../../shared/base/errors.ts';
import { Bitfield } from '../../../../shared/net/swarm/bitfield.ts';

const violation = expect.toSatisfy((error) => isWardcastError(error, 'PROTOCOL_VIOLATION'));
const setsOf = fc
  .integer({ min: 0, max: 70 })
  .chain((length) => fc.record({ length: fc.constant(length), set: fc.uniqueArray(fc.nat(Math.max(0, length - 1))) }));

describe('a bitfield', () => {
  it('law: behaves as a set of indexes does, and its bytes tell the whole of it', () => {
    fc.assert(
      fc.property(setsOf, fc.array(fc.nat(69)), ({ length, set }, deleted) => {
        const bits = new Bitfield(length);
        const model = new Set<number>();
        for (const index of length === 0 ? [] : set) {
          expect(bits.add(index)).toBe(true);
          expect(bits.add(index)).toBe(false);
          model.add(index);
        }
        for (const index of deleted) if (index < length) expect(bits.delete(index)).toBe(model.delete(index));
        expect([...bits.values()]).toEqual([...model].sort((a, b) => a - b));
        expect(bits.size).toBe(model.size);
        expect(bits.complete).toBe(model.size === length);
        for (let index = 0; index < length; index++) expect(bits.has(index)).toBe(model.has(index));
        const again = Bitfield.of(bits.bytes(), length);
        expect([...again.values()]).toEqual([...bits.values()]);
        expect(again.size).toBe(bits.size);
      }),
    );
  });

  it('law: a full one is what adding everything makes', () => {
    fc.assert(
      fc.property(fc.nat(100), (length) => {
        const bits = new Bitfield(length);
        for (let index = 0; index < length; index++) bits.add(index);
        const full = Bitfield.full(length);
        expect(full.bytes()).toEqual(bits.bytes());
        expect(full.size).toBe(length);
        expect(full.complete).toBe(true);
      }),
    );
  });

  it('does not share its bytes', () => {
    const bytes = Uint8Array.of(0x80);
    const bits = Bitfield.of(bytes, 8);
    bytes[0] = 0;
    bits.bytes()[0] = 0;
    expect(bits.has(0)).toBe(true);
  });

  it('refuses bytes that are too few or too many, and bits beyond the last chunk', () => {
    for (const [bytes, length] of [
      [[], 1],
      [[0, 0], 8],
      [[0x01], 7],
      [[0xff, 0x20], 10],
    ] as const) {
      expect(() => Bitfield.of(Uint8Array.from(bytes), length)).toThrow(violation);
    }
  });

  it('refuses indexes that do not exist', () => {
    const bits = new Bitfield(9);
    for (const index of [-1, 9, 15, 16, 0.5, Number.NaN, 2 ** 32]) {
      for (const use of [() => bits.has(index), () => bits.add(index), () => bits.delete(index)]) expect(use).toThrow(violation);
    }
  });
});
