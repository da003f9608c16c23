import { createHash, createHmac, randomInt, scrypt, timingSafeEqual } from 'node:crypto';
import { WardcastError } from '../base/errors.ts';
import { ENROL_SCRYPT_COST } from '../base/limits.ts';

/**
 * Codes that people read out, type and scan: `XXXX-XXXX-XXXX-XXXX` in Crockford's base32 (https://www.crockford.com/base32.html). The first four
 * characters name the token, the other twelve are 60 secret bits.
 *
 * The proof is that of SCRAM (RFC 5802, section 3) over the device id and the key: the code never travels, nobody on the way can use a proof for another
 * key, and the verifier that the provider keeps is no code either: with it alone nothing can be enrolled.
 */
const ALPHABET = '0123456789ABCDEFGHJKMNPQRSTVWXYZ';
const SYMBOLS = 16;
const ID_SYMBOLS = 4;

export interface EnrolCode {
  /** The public part: names the token. */
  readonly token: string;
  readonly secret: string;
}

export function makeCode(): EnrolCode {
  return split(Array.from({ length: SYMBOLS }, () => ALPHABET[randomInt(ALPHABET.length)]).join(''));
}

export function printCode({ token, secret }: EnrolCode): string {
  return [token, ...(secret.match(/.{4}/g) ?? [])].join('-');
}

/** Takes what people make of it: lower case, spaces, O for 0, I and L for 1. @throws USAGE; the text is not repeated, since it may be nearly right */
export function parseCode(text: string): EnrolCode {
  const symbols = text.toUpperCase().replace(/[\s-]/g, '').replaceAll('O', '0').replace(/[IL]/g, '1');
  if (symbols.length === SYMBOLS && [...symbols].every((symbol) => ALPHABET.includes(symbol))) return split(symbols);
  throw new WardcastError('USAGE', 'That is no enrolment code', {
    remedy: 'A code has four times four characters, like 7K3M-9QX2-TT4D-0PBA, as `wardcast enrol token` printed it.',
  });
}

/** What the provider keeps of a code (RFC 5802: StoredKey), base64. */
export async function verifierOf(code: EnrolCode): Promise<string> {
  return storedKey(await clientKey(code)).toString('base64');
}

/** What a device shows in place of the code. @param request the certification request, DER */
export async function proofOf(code: EnrolCode, device: string, request: Buffer): Promise<string> {
  const key = await clientKey(code);
  return xor(key, signature(storedKey(key), code.token, device, request)).toString('base64');
}

/** Does this proof come from the code behind `verifier`, for this device id and this request? */
export function checkProof(verifier: string, token: string, o: { readonly device: string; readonly request: Buffer; readonly proof: string }): boolean {
  const stored = Buffer.from(verifier, 'base64');
  const proof = Buffer.from(o.proof, 'base64');
  if (stored.length !== 32 || proof.length !== 32) return false;
  return timingSafeEqual(storedKey(xor(proof, signature(stored, token, o.device, o.request))), stored);
}

function split(symbols: string): EnrolCode {
  return { token: symbols.slice(0, ID_SYMBOLS), secret: symbols.slice(ID_SYMBOLS) };
}

function clientKey({ token, secret }: EnrolCode): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    const cost = { N: ENROL_SCRYPT_COST, r: 8, p: 1, maxmem: 256 * ENROL_SCRYPT_COST * 8 };
    scrypt(secret, `wardcast-enrol/1 ${token}`, 32, cost, (error, salted) => {
      if (error) reject(error);
      else resolve(createHmac('sha256', salted).update('Client Key').digest());
    });
  });
}

function storedKey(key: Buffer): Buffer {
  return createHash('sha256').update(key).digest();
}

function signature(stored: Buffer, token: string, device: string, request: Buffer): Buffer {
  const message = ['wardcast-enrol/1', token, device, createHash('sha256').update(request).digest('hex')].join('\n');
  return createHmac('sha256', stored).update(message).digest();
}

function xor(a: Buffer, b: Buffer): Buffer {
  return Buffer.from(a.map((byte, index) => byte ^ (b[index] ?? 0)));
}
