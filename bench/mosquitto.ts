import { chmod, copyFile, mkdir, writeFile } from 'node:fs/promises';
import net from 'node:net';
import path from 'node:path';
import { type Server, startProgram } from './child.ts';

export const PORT = 18883;

/** mosquitto on loopback that requires client certificates of our root, and keeps nothing on disk. */
export async function startMosquitto(
  directory: string,
  credentials: string,
  on: (command: readonly string[]) => string[] = (command) => [...command],
): Promise<Server & { readonly port: number }> {
  const command = await prepareMosquitto(directory, credentials, '127.0.0.1');
  const server = await startProgram(on(command), () => listens(PORT));
  return { ...server, port: PORT };
}

/** Writes its configuration and credentials. @returns its command line */
export async function prepareMosquitto(directory: string, credentials: string, host: string): Promise<string[]> {
  const at = (name: string): string => path.join(directory, name);
  await mkdir(directory, { recursive: true });
  for (const name of ['key.pem', 'chain.pem', 'root.pem']) {
    await copyFile(path.join(credentials, name), at(name));
    await chmod(at(name), 0o644);
  }
  const lines = [
    `listener ${PORT} ${host}`,
    'user root',
    'persistence false',
    'log_dest none',
    'allow_anonymous true',
    `cafile ${at('root.pem')}`,
    `certfile ${at('chain.pem')}`,
    `keyfile ${at('key.pem')}`,
    'tls_version tlsv1.3',
    'require_certificate true',
    'max_queued_messages 0',
    'max_inflight_messages 0',
  ];
  await writeFile(at('mosquitto.conf'), `${lines.join('\n')}\n`);
  return ['mosquitto', '-c', at('mosquitto.conf')];
}

function listens(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = net.connect(port, '127.0.0.1');
    socket.once('connect', () => {
      socket.destroy();
      resolve(true);
    });
    socket.once('error', () => resolve(false));
  });
}
