import { WardcastError } from '../base/errors.ts';

/**
 * Canonical JSON as TUF signs it (OLPC, http://wiki.laptop.org/go/Canonical_JSON): keys sorted, no white space, integers only,
 * nothing escaped but quote and backslash. Narrower than OLPC on purpose: control characters and lone surrogates are refused, since OLPC
 * would write them raw and the result could not be parsed as JSON again. Members that are `undefined` are left out.
 * @throws INTERNAL when the value has no such form (a fraction, an unsafe integer, a control character)
 */
export function canonicalJson(value: unknown): Buffer {
  return Buffer.from(write(value), 'utf8');
}

function write(value: unknown): string {
  if (typeof value === 'string') return text(value);
  if (typeof value === 'number') return integer(value);
  if (value === null || typeof value === 'boolean') return String(value);
  if (Array.isArray(value)) {
    let list = '[';
    for (let at = 0; at < value.length; at++) list += at === 0 ? write(value[at]) : `,${write(value[at])}`;
    return `${list}]`;
  }
  if (!isRecord(value)) throw new WardcastError('INTERNAL', `A value of type ${typeof value} has no canonical form`);
  let members = '';
  for (const key of Object.keys(value).sort()) {
    const member = value[key];
    if (member !== undefined) members += `${members === '' ? '' : ','}${text(key)}:${write(member)}`;
  }
  return `{${members}}`;
}

function isRecord(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null;
}

/** Nearly every string, and nothing to escape or refuse in it: printable ASCII without quote and backslash. */
const PLAIN = /^[ !#-[\]-~]*$/;
// biome-ignore lint/suspicious/noControlCharactersInRegex: control characters are exactly what is refused here.
const CONTROL = /[\u0000-\u001f]/;

function text(value: string): string {
  if (PLAIN.test(value)) return `"${value}"`;
  if (CONTROL.test(value) || !value.isWellFormed()) throw new WardcastError('INTERNAL', `${JSON.stringify(value.slice(0, 100))} has no canonical form`);
  return JSON.stringify(value);
}

function integer(value: number): string {
  if (!Number.isSafeInteger(value)) throw new WardcastError('INTERNAL', `${value} is no safe integer and has no canonical form`);
  // -0 and 0 are one number: String() writes both as 0.
  return String(value);
}
