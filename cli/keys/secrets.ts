import { readSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { systemCode } from '../../shared/base/errors.ts';
import { MAX_NAME } from '../../shared/base/limits.ts';
import type { SecretSource } from '../../shared/trust/secret-source.ts';
import { type Options, usage } from '../command.ts';

/**
 * Where a passphrase or PIN comes from: a file, an open file descriptor, or the person at the terminal. Never the command line, which every
 * user of the machine can read, and never the environment, which lands in logs.
 */
export function secretsOf(options: Options): SecretSource {
  const file = options.text('passphraseFile');
  const descriptor = options.text('passphraseFd');
  if (file !== undefined && descriptor !== undefined) throw usage('--passphrase-file and --passphrase-fd exclude each other');
  if (file !== undefined) return () => fromFile(file);
  if (descriptor !== undefined) {
    let read: Buffer | undefined;
    return () => {
      // Whoever asks twice gets the same: a pipe is read but once.
      read ??= fromDescriptor(descriptor);
      return Promise.resolve(read);
    };
  }
  return ask;
}

async function fromFile(file: string): Promise<Buffer> {
  try {
    return firstLine(await readFile(file));
  } catch (error) {
    throw usage(`--passphrase-file: ${file} cannot be read: ${systemCode(error) ?? String(error)}`);
  }
}

function fromDescriptor(text: string): Buffer {
  if (!/^[0-9]{1,4}$/.test(text)) throw usage('--passphrase-fd takes the number of an open file descriptor');
  const parts: Buffer[] = [];
  try {
    for (;;) {
      const part = Buffer.alloc(4096);
      const length = readSync(Number(text), part);
      if (length === 0) break;
      parts.push(part.subarray(0, length));
    }
  } catch (error) {
    throw usage(`--passphrase-fd ${text} cannot be read: ${systemCode(error) ?? String(error)}`);
  }
  return firstLine(Buffer.concat(parts));
}

function firstLine(bytes: Buffer): Buffer {
  return Buffer.from(bytes.toString('utf8').replace(/\r?\n[\s\S]*$/, ''));
}

/** Asks on standard error, without an echo. */
export function ask(what: string): Promise<Buffer> {
  const { stdin, stderr } = process;
  if (!stdin.isTTY) {
    throw usage(`The ${what} is needed, and there is no terminal to ask at`, 'Give --passphrase-file FILE or --passphrase-fd NUMBER.');
  }
  return new Promise((resolve, reject) => {
    let typed = '';
    const end = (): void => {
      stdin.off('data', onData);
      stdin.setRawMode(false);
      stdin.pause();
      stderr.write('\n');
    };
    const onData = (data: Buffer): void => {
      for (const key of data.toString('utf8')) {
        if (key === '\u0003' || key === '\u0004') {
          end();
          reject(usage('Nothing was entered'));
          return;
        }
        if (key === '\r' || key === '\n') {
          end();
          resolve(Buffer.from(typed));
          return;
        }
        typed = key === '\u007f' || key === '\b' ? [...typed].slice(0, -1).join('') : `${typed}${key}`.slice(0, 4 * MAX_NAME);
      }
    };
    // Before the question: whoever types at once must not see it echoed.
    stdin.setRawMode(true);
    stdin.on('data', onData);
    stdin.resume();
    stderr.write(`${what}: `);
  });
}

/** For a new key: at the terminal it is typed twice. */
export async function newSecret(options: Options, what: string): Promise<Buffer> {
  const source = secretsOf(options);
  const first = await source(what);
  if (source === ask && !first.equals(await ask(`${what}, again`))) throw usage('The two differ', 'Begin again.');
  return first;
}
