import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import net from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Papers } from './bad-certificates.ts';
import { ensurePrograms } from './debian.ts';

export interface Mosquitto extends AsyncDisposable {
  readonly port: number;
  /** What it has logged so far. */
  log(): string;
}

/** A real mosquitto on loopback that requires client certificates, and lets everybody say and hear everything unless `acl` says otherwise. */
export async function startMosquitto(papers: Papers, options: { port?: number; acl?: string; lines?: readonly string[] } = {}): Promise<Mosquitto> {
  await ensurePrograms(['mosquitto']);
  const directory = await mkdtemp(join(tmpdir(), 'mosquitto-'));
  const at = (name: string): string => join(directory, name);
  const port = options.port ?? (await freePort());
  await Promise.all([
    writeFile(at('key.pem'), papers.keyPem),
    writeFile(at('chain.pem'), papers.chainPem),
    writeFile(at('root.pem'), papers.rootPem),
    writeFile(at('acl'), options.acl ?? 'topic readwrite #\n'),
    writeFile(
      at('mosquitto.conf'),
      [
        `listener ${port} 127.0.0.1`,
        'user root',
        'persistence false',
        'log_dest stderr',
        'connection_messages true',
        `cafile ${at('root.pem')}`,
        `certfile ${at('chain.pem')}`,
        `keyfile ${at('key.pem')}`,
        'tls_version tlsv1.3',
        'require_certificate true',
        'allow_anonymous true',
        `acl_file ${at('acl')}`,
        ...(options.lines ?? []),
        '',
      ].join('\n'),
    ),
  ]);
  const child = spawn('/usr/sbin/mosquitto', ['-c', at('mosquitto.conf')], { stdio: ['ignore', 'ignore', 'pipe'] });
  const exited = once(child, 'exit');
  let log = '';
  const started = Promise.withResolvers<void>();
  child.stderr.on('data', (bytes: Buffer) => {
    log += bytes.toString();
    if (log.includes('running')) started.resolve();
  });
  const early = exited.then(() => {
    throw new Error(`mosquitto ended at once:\n${log}`);
  });
  early.catch(() => undefined);
  await Promise.race([started.promise, early]);
  return {
    port,
    log: () => log,
    async [Symbol.asyncDispose]() {
      child.kill('SIGKILL');
      await exited;
      await rm(directory, { recursive: true, force: true });
    },
  };
}

async function freePort(): Promise<number> {
  const server = net.createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const address = server.address();
  server.close();
  await once(server, 'close');
  if (typeof address !== 'object' || address === null) throw new Error('no free port');
  return address.port;
}
