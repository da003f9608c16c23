import fc from 'fast-check';
import { canonicalJson } from '../../shared/bundle/canonical.ts';

/** What parsers stumble over, as bytes. */
const TOKENS = [
  ...[
    '',
    '\0',
    '"',
    '\\',
    '{',
    '}',
    '[',
    ']',
    ',',
    ':',
    '-',
    '-0',
    '1e999',
    '1.5',
    '9007199254740993',
    'null',
    'true',
    '\\u0000',
    '\\ud800',
    '\ufeff',
    '\u2028',
  ],
  ...['"__proto__"', '"constructor"', '"toString":1', '../', '//', '%2e', '\r\n', '\r\n\r\n', '=', '#', '+', '$SYS', '-----BEGIN CERTIFICATE-----', '[[', ']]'],
].map((text) => Buffer.from(text));
const RAW = [
  Buffer.from([0xff, 0xff, 0xff, 0xff]),
  Buffer.from([0x80, 0x80, 0x80, 0x80]),
  Buffer.from([0xc0, 0x80]),
  Buffer.from([0xed, 0xa0, 0x80]),
  Buffer.from([0x30, 0x82, 0xff, 0xff]),
  Buffer.from([0x30, 0x80]),
];
/** Far more than any stack holds if somebody follows it by recursion. */
const DEEP = [Buffer.from('['.repeat(60_000)), Buffer.from('{"a":'.repeat(30_000)), Buffer.from('[['.repeat(600))];

export const noise = fc.uint8Array({ maxLength: 400 }).map((bytes) => Buffer.from(bytes));
const place = fc.double({ min: 0, max: 1, noNaN: true });
const token = fc.oneof(
  { weight: 12, arbitrary: fc.constantFrom(...TOKENS, ...RAW) },
  { weight: 1, arbitrary: fc.constantFrom(...DEEP) },
  { weight: 4, arbitrary: noise },
);

const edit = fc.oneof(
  fc.record({ do: fc.constant('flip' as const), at: place, with: fc.integer({ min: 1, max: 255 }) }),
  fc.record({ do: fc.constant('insert' as const), at: place, with: token }),
  fc.record({ do: fc.constant('replace' as const), at: place, length: fc.nat(20), with: token }),
  fc.record({ do: fc.constant('delete' as const), at: place, length: fc.nat(200) }),
  fc.record({ do: fc.constant('repeat' as const), at: place, length: fc.integer({ min: 1, max: 60 }), times: fc.nat(40) }),
  fc.record({ do: fc.constant('cut' as const), at: place }),
);
type Edit = typeof edit extends fc.Arbitrary<infer E> ? E : never;

/** A sample with a few things wrong in it; and now and then as it is. */
export function mutated(samples: readonly Buffer[]): fc.Arbitrary<Buffer> {
  return fc.tuple(fc.constantFrom(...samples), fc.array(edit, { maxLength: 5 })).map(([sample, edits]) => edits.reduce(apply, Buffer.from(sample)));
}

function apply(bytes: Buffer, change: Edit): Buffer {
  const at = Math.floor(change.at * bytes.length);
  const before = bytes.subarray(0, at);
  switch (change.do) {
    case 'flip': {
      const copy = Buffer.from(bytes);
      if (at < copy.length) copy[at] = (copy[at] ?? 0) ^ change.with;
      return copy;
    }
    case 'insert':
      return Buffer.concat([before, change.with, bytes.subarray(at)]);
    case 'replace':
      return Buffer.concat([before, change.with, bytes.subarray(at + change.length)]);
    case 'delete':
      return Buffer.concat([before, bytes.subarray(at + change.length)]);
    case 'repeat':
      return Buffer.concat([before, ...Array.from({ length: change.times }, () => bytes.subarray(at, at + change.length)), bytes.subarray(at)]);
    case 'cut':
      return Buffer.from(before);
  }
}

/** Samples bent and plain noise. */
export function anyBytes(samples: readonly Buffer[]): fc.Arbitrary<Buffer> {
  return fc.oneof({ weight: 6, arbitrary: mutated(samples) }, { weight: 1, arbitrary: noise });
}

const strangeText = fc.oneof(
  fc.string({ unit: 'binary', maxLength: 30 }),
  fc.constantFrom('', '__proto__', 'constructor', 'toString', '..', '.', '/', '\0', '\ud800', 'a'.repeat(5000), '\u202e', 'CON', 'é', 'e\u0301'),
);
const strangeNumber = fc.constantFrom(-1, 0, -0, 1, 1.5, 2 ** 31, 2 ** 32, 2 ** 53, 2 ** 53 - 1, 1e308, Number.NaN, Number.POSITIVE_INFINITY);
/** JSON that no honest program would send; also what JSON.stringify turns into something else. */
export const strangeJson: fc.Arbitrary<unknown> = fc.oneof(
  strangeText,
  strangeNumber,
  fc.constantFrom(null, true, false, [], {}, [[]], [null], { length: 1 }, { toString: 1 }, { toJSON: null }),
  fc.jsonValue({ maxDepth: 3 }),
);

const jsonEdit = fc.oneof(
  fc.record({ do: fc.constant('set' as const), node: fc.nat(5000), with: strangeJson }),
  fc.record({ do: fc.constant('delete' as const), node: fc.nat(5000) }),
  fc.record({ do: fc.constant('rename' as const), node: fc.nat(5000), to: strangeText }),
  fc.record({ do: fc.constant('copy' as const), node: fc.nat(5000), from: fc.nat(5000) }),
  fc.record({ do: fc.constant('many' as const), node: fc.nat(5000), times: fc.constantFrom(2, 40, 3000) }),
);
export type JsonEdit = typeof jsonEdit extends fc.Arbitrary<infer E> ? E : never;

export function jsonEdits(minLength: number): fc.Arbitrary<JsonEdit[]> {
  return fc.array(jsonEdit, { minLength, maxLength: 3 });
}

/** JSON of the right form but for a few places, so that what is behind the first check is reached; canonical where that is possible. */
export function mutatedJson(samples: readonly Buffer[]): fc.Arbitrary<Buffer> {
  const values = samples.map((bytes): unknown => JSON.parse(bytes.toString('utf8')));
  return fc
    .tuple(fc.constantFrom(...values), jsonEdits(1), fc.boolean())
    .map(([value, edits, canonical]) => print(edits.reduce(bendJson, structuredClone(value)), canonical));
}

function print(value: unknown, canonical: boolean): Buffer {
  if (canonical) {
    try {
      return canonicalJson(value);
    } catch {
      // No canonical form: that is a case of its own.
    }
  }
  return Buffer.from(JSON.stringify(value) ?? 'null');
}

interface Slot {
  readonly owner: object;
  readonly key: string;
}

/** Changes one place of a JSON value, in place where it can. */
export function bendJson(root: unknown, change: JsonEdit): unknown {
  const slots: Slot[] = [];
  collect(root, slots);
  const slot = slots[change.node % Math.max(1, slots.length)];
  // A copy, or later changes would reach into the arbitrary's own values, and into themselves.
  if (slot === undefined) return change.do === 'set' ? structuredClone(change.with) : root;
  const old: unknown = Reflect.get(slot.owner, slot.key);
  switch (change.do) {
    case 'set':
      define(slot.owner, slot.key, structuredClone(change.with));
      return root;
    case 'delete':
      Reflect.deleteProperty(slot.owner, slot.key);
      return root;
    case 'rename':
      Reflect.deleteProperty(slot.owner, slot.key);
      define(slot.owner, change.to, old);
      return root;
    case 'copy': {
      const from = slots[change.from % slots.length];
      if (from !== undefined) define(slot.owner, slot.key, structuredClone(Reflect.get(from.owner, from.key)));
      return root;
    }
    case 'many':
      define(slot.owner, slot.key, Array.isArray(old) ? repeated(old, change.times) : old);
      return root;
  }
}

/** Characters of JSON that a list may have after it was made longer: several such changes on top of each other would fill any memory. */
const MAX_REPEATED = 2_000_000;

function repeated(list: readonly unknown[], times: number): unknown[] {
  const each = (JSON.stringify(list) ?? '').length / Math.max(1, list.length);
  const length = Math.min(times, Math.floor(MAX_REPEATED / Math.max(1, each)));
  // Copies: a later change of one of them is a change of one.
  return Array.from({ length }, (_, at): unknown => structuredClone(list[at % Math.max(1, list.length)]));
}

/** An own member whatever its name: `__proto__` too. */
function define(owner: object, key: string, value: unknown): void {
  // A list's length is no member that JSON could have.
  if (Array.isArray(owner) && key === 'length') return;
  Object.defineProperty(owner, key, { value, enumerable: true, configurable: true, writable: true });
}

function collect(value: unknown, slots: Slot[]): void {
  if (typeof value !== 'object' || value === null) return;
  for (const [key, member] of Object.entries(value)) {
    slots.push({ owner: value, key });
    if (slots.length < 5000) collect(member, slots);
  }
}
