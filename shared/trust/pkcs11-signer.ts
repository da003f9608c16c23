import { spawnSync } from 'node:child_process';
import { hash, verify } from 'node:crypto';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { systemCode, WardcastError } from '../base/errors.ts';
import { MAX_TOKEN_MESSAGE, TOKEN_TIMEOUT } from '../base/limits.ts';
import { type Signer, verificationKeyFrom } from './keys.ts';
import type { SecretSource } from './secret-source.ts';

/** A key in a token, named by a PKCS#11 URI (RFC 7512). */
export interface TokenKey {
  readonly module: string;
  readonly token: string;
  /** Label or id (hex) of the key pair. */
  readonly object: string | undefined;
  readonly id: string | undefined;
  /** A file that holds the PIN; asked for when absent. */
  readonly pinFile: string | undefined;
}

/** `pkcs11:token=T;object=O?module-path=/lib/x.so&pin-source=file:/pin`. @throws USAGE */
export function parseTokenUri(uri: string): TokenKey {
  const [path = '', query = ''] = uri.slice('pkcs11:'.length).split('?');
  const attributes = new Map<string, string>();
  try {
    for (const part of [...path.split(';'), ...query.split('&')]) {
      const [name = '', value = ''] = part.split(/=(.*)/s);
      if (name !== '') attributes.set(name, name === 'id' ? Buffer.from(unescapeBytes(value), 'latin1').toString('hex') : decodeURIComponent(value));
    }
  } catch (cause) {
    throw badUri('it is not URL-encoded', cause);
  }
  if (attributes.has('pin-value')) throw badUri('a PIN has no place in it; use pin-source=file:/path, or be asked');
  const known = new Set(['token', 'object', 'id', 'type', 'module-path', 'pin-source']);
  for (const name of attributes.keys()) if (!known.has(name)) throw badUri(`${name} is not understood`);
  const [module, token, object, id] = [attributes.get('module-path'), attributes.get('token'), attributes.get('object'), attributes.get('id')];
  if (module === undefined || token === undefined || (object === undefined && id === undefined))
    throw badUri('token, object (or id) and module-path are needed');
  return { module, token, object, id, pinFile: attributes.get('pin-source')?.replace(/^file:(?:\/\/(?=\/))?/, '') };
}

function unescapeBytes(text: string): string {
  return text.replace(/%([0-9a-f]{2})/gi, (_, hex: string) => String.fromCharCode(Number.parseInt(hex, 16)));
}

function badUri(why: string, cause?: unknown): WardcastError {
  return new WardcastError('USAGE', `The PKCS#11 URI cannot be used: ${why}`, {
    cause,
    remedy: 'Write pkcs11:token=LABEL;object=LABEL?module-path=/path/to/module.so (RFC 7512).',
  });
}

/**
 * Signs with a P-256 key (or, short messages only, an ed25519 key) that never leaves its token, by OpenSC's `pkcs11-tool`: the one way without a native dependency. Each signature is a
 * process of its own and blocks until it ends. The PIN goes to that process in its environment, which only its owner can read; never on a
 * command line. Every signature is verified before it is used.
 * @throws KEY_UNUSABLE, USAGE
 */
export async function openTokenSigner(uri: string, secrets: SecretSource): Promise<Signer> {
  const key = parseTokenUri(uri);
  const pin = key.pinFile === undefined ? await secrets(`PIN of the token ${key.token}`) : await readPin(key.pinFile);
  const what = `The key ${key.object ?? key.id ?? ''} in the token ${key.token}`;
  // By id throughout: for signing, pkcs11-tool passes over the label and takes the first key it meets.
  const chosen = ['--id', key.id ?? idOfLabel(key, what)];
  const publicKey = verificationKeyFrom(what, runTool(key, ['--read-object', '--type', 'pubkey', ...chosen], undefined, undefined));
  const edwards = publicKey.publicKey.asymmetricKeyType === 'ed25519';
  const how = edwards ? ['--mechanism', 'EDDSA'] : ['--mechanism', 'ECDSA', '--signature-format', 'openssl'];
  return {
    ...publicKey,
    sign: (bytes) => {
      if (edwards && bytes.length > MAX_TOKEN_MESSAGE) {
        throw new WardcastError('KEY_UNUSABLE', `${what} is ed25519, for which pkcs11-tool takes ${MAX_TOKEN_MESSAGE} bytes at most`, {
          remedy: 'Make a P-256 key in the token (EC:prime256v1): it signs a hash, whatever the length.',
        });
      }
      const input = edwards ? bytes : hash('sha256', bytes, 'buffer');
      const signature = runTool(key, ['--login', '--pin', 'env:WARDCAST_TOKEN_PIN', '--sign', ...how, ...chosen], input, pin);
      if (!verify(edwards ? null : 'sha256', bytes, publicKey.publicKey, signature)) {
        throw new WardcastError('KEY_UNUSABLE', `${what} made a signature that does not verify`);
      }
      return signature;
    },
  };
}

/** @throws KEY_UNUSABLE when no key pair, or more than one, has the label */
function idOfLabel(key: TokenKey, what: string): string {
  const listed = runTool(key, ['--list-objects', '--type', 'pubkey'], undefined, undefined, 'stdout').toString();
  const ids = listed
    .split(/^(?=\S)/m)
    .filter((object) => /^ +label: +(.*)$/m.exec(object)?.[1] === key.object)
    .flatMap((object) => /^ +ID: +([0-9a-f]+)$/m.exec(object)?.[1] ?? []);
  const [id] = ids;
  if (id !== undefined && ids.length === 1) return id;
  throw new WardcastError('KEY_UNUSABLE', `${what} ${id === undefined ? 'was not found, or has no id' : 'is not the only one of that label'}`, {
    remedy: 'List them with `pkcs11-tool --list-objects`, and name the key by its id: `id=%01`.',
  });
}

async function readPin(file: string): Promise<Buffer> {
  try {
    return Buffer.from((await readFile(file, 'utf8')).replace(/\r?\n$/, ''));
  } catch (cause) {
    throw new WardcastError('KEY_UNUSABLE', `The PIN file ${file} cannot be read: ${systemCode(cause) ?? String(cause)}`, { cause });
  }
}

/** Returns what the tool wrote. Its files hold nothing secret: a public key, bytes to sign, a signature. */
function runTool(key: TokenKey, args: readonly string[], input: Buffer | undefined, pin: Buffer | undefined, from: 'file' | 'stdout' = 'file'): Buffer {
  const folder = mkdtempSync(join(tmpdir(), 'wardcast-token-'));
  try {
    const output = join(folder, 'out');
    const files = from === 'file' ? ['--output-file', output] : [];
    if (input !== undefined) {
      writeFileSync(join(folder, 'in'), input);
      files.push('--input-file', join(folder, 'in'));
    }
    const env = pin === undefined ? process.env : { ...process.env, WARDCAST_TOKEN_PIN: pin.toString() };
    const done = spawnSync('pkcs11-tool', ['--module', key.module, '--token-label', key.token, ...args, ...files], {
      env,
      timeout: TOKEN_TIMEOUT,
      stdio: 'pipe',
    });
    if (done.error !== undefined) {
      const absent = systemCode(done.error) === 'ENOENT';
      throw new WardcastError('KEY_UNUSABLE', `pkcs11-tool could not be run: ${systemCode(done.error) ?? done.error.message}`, {
        cause: done.error,
        remedy: absent ? "Install OpenSC (Debian's package opensc)." : 'Look whether the token is plugged in and answers.',
      });
    }
    if (done.status !== 0) {
      const said =
        done.stderr
          .toString()
          .trim()
          .split('\n')
          .find((line) => /error/i.test(line)) ?? `exit status ${done.status}`;
      throw new WardcastError('KEY_UNUSABLE', `The token ${key.token} refused: ${said.slice(0, 300)}`, { remedy: 'Look at token label, key label and PIN.' });
    }
    return from === 'file' ? readFileSync(output) : done.stdout;
  } catch (cause) {
    if (cause instanceof WardcastError) throw cause;
    throw new WardcastError('KEY_UNUSABLE', `The token ${key.token} gave no answer`, { cause });
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}
