import { WardcastError } from '../base/errors.ts';
import { MAX_NAME, MAX_PATH } from '../base/limits.ts';

/**
 * Paths of a release: relative, with `/`, and safe to write on every file system that a device may have.
 * Sources: CVE-2021-32803/-32804 and CVE-2021-37701 (node-tar), CVE-2014-9390 (git), "Naming Files" (Microsoft).
 */

// biome-ignore lint/suspicious/noControlCharactersInRegex: control characters are exactly what is refused here.
const CONTROL = /[\u0000-\u001f\u007f-\u009f\u2028\u2029]/;
const WINDOWS_CHARACTERS = /[<>:"|?*]/;
const WINDOWS_NAMES = /^(con|prn|aux|nul|conin\$|conout\$|com[0-9¹²³]|lpt[0-9¹²³])[ ]*(\..*)?$/i;
const ASCII = /^[\x20-\x7e]*$/;

/** @throws PATH_UNSAFE with the reason */
export function checkPath(path: string): void {
  const reason = whyUnsafe(path);
  if (reason === undefined) return;
  throw new WardcastError('PATH_UNSAFE', `The path ${quote(path)} is refused: ${reason}`, {
    remedy: 'Rename the file in the release tree and sign the release again.',
  });
}

function whyUnsafe(path: string): string | undefined {
  if (path === '') return 'it is empty';
  if (path.length > MAX_PATH || Buffer.byteLength(path) > MAX_PATH) return `it is longer than ${MAX_PATH} bytes`;
  if (path.includes('\0')) return 'it contains a NUL';
  if (path.includes('\\')) return 'it contains a backslash, which separates directories on some systems';
  if (path.startsWith('/')) return 'it is absolute';
  if (CONTROL.test(path)) return 'it contains a control character';
  if (!ASCII.test(path)) {
    if (!path.isWellFormed()) return 'it is not well-formed Unicode';
    if (path.normalize('NFC') !== path) return 'it is not in Unicode normal form C';
  }
  for (const name of path.split('/')) {
    const reason = whyNameUnsafe(name);
    if (reason !== undefined) return reason;
  }
  return undefined;
}

function whyNameUnsafe(name: string): string | undefined {
  if (name === '') return 'it has an empty segment';
  if (name === '..') return 'it climbs with ".."';
  if (name === '.') return 'it has a "." segment';
  if (name.length * 4 > MAX_NAME && Buffer.byteLength(name) > MAX_NAME) return `a name in it is longer than ${MAX_NAME} bytes`;
  if (name.endsWith('.') || name.endsWith(' ')) return 'a name in it ends with a dot or a space, which some systems drop';
  if (WINDOWS_CHARACTERS.test(name)) return 'it contains one of < > : " | ? *, which are special on some systems';
  if (WINDOWS_NAMES.test(name)) return 'a name in it is a device name on some systems';
  return undefined;
}

const IGNORABLE = /\p{Default_Ignorable_Code_Point}/gu;

/**
 * Two paths with the same key are one file on some file system (case-insensitive, normalising, or ignoring invisible characters).
 * Upper then lower case stands for Unicode's full case folding: it joins at least what that joins (ß = SS, ſ = s, K = k).
 */
export function collisionKey(path: string): string {
  if (ASCII.test(path)) return path.toLowerCase();
  return path.normalize('NFC').replace(IGNORABLE, '').toUpperCase().toLowerCase().normalize('NFC');
}

function quote(path: string): string {
  return JSON.stringify(path.length > 200 ? `${path.slice(0, 200)}…` : path);
}
