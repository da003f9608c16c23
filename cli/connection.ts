import { existsSync } from 'node:fs';
import { homedir } from 'node:os';
import path from 'node:path';
import type { Command } from 'commander';
import { Option } from 'commander';
import type { OpsClient } from '../shared/net/ops-client.ts';
import type { Call, Options } from './command.ts';
import { usage } from './command.ts';
import type { OpsAddress } from './ops.ts';

export function withConnection(command: Command): Command {
  return command
    .addOption(new Option('--provider <host:port>', 'the provider to talk to').env('WARDCAST_PROVIDER'))
    .addOption(new Option('--credentials <dir>', 'folder with the ops certificate and key').env('WARDCAST_CREDENTIALS'));
}

export function opsConfigFile(): string {
  return path.join(process.env['XDG_CONFIG_HOME'] ?? path.join(homedir(), '.config'), 'wardcast', 'ops.toml');
}

/** Where the provider is: by options, then environment, then the configuration file. @throws USAGE when neither options, environment nor file say it; CONFIG_INVALID */
export async function opsAddress(options: Options): Promise<OpsAddress> {
  const file = opsConfigFile();
  const configured = existsSync(file) ? await readOpsConfig(file) : undefined;
  const provider = options.text('provider') ?? configured?.provider;
  const credentials = options.text('credentials') ?? configured?.credentials;
  if (provider === undefined || credentials === undefined) {
    throw usage(
      `No ${provider === undefined ? 'provider' : 'credentials'} to use`,
      `Give --provider HOST:PORT --credentials DIR, set WARDCAST_PROVIDER and WARDCAST_CREDENTIALS, or write both into ${file}.`,
    );
  }
  return { ...hostAndPort(provider), credentials };
}

async function readOpsConfig(file: string): Promise<{ provider: string; credentials: string }> {
  const [{ loadConfig }, { z }] = await Promise.all([import('../shared/base/config.ts'), import('zod')]);
  const config = await loadConfig(file, z.strictObject({ provider: z.string(), credentials: z.string() }));
  return { provider: config.provider, credentials: path.resolve(path.dirname(file), config.credentials) };
}

/** `host:port`, with IPv6 in brackets. @throws USAGE */
export function hostAndPort(text: string): { host: string; port: number } {
  const match = /^(?:\[([0-9A-Fa-f:.]+)\]|([^:[\]]+)):(\d{1,5})$/.exec(text);
  const host = match?.[1] ?? match?.[2];
  const port = Number(match?.[3]);
  if (host === undefined || port < 1 || port > 65535)
    throw usage(`${JSON.stringify(text)} is no address`, 'Write HOST:PORT, for example provider.example.org:8883.');
  return { host, port };
}

/** Connects, does the work, disconnects. */
export async function withOps<T>(call: Call, work: (ops: OpsClient) => Promise<T>): Promise<T> {
  const address = await opsAddress(call.options);
  const { connectOps } = await import('./ops.ts');
  const ops = await call.output.patiently(`Connecting to ${address.host}:${address.port}`, connectOps(address, call.signal));
  try {
    return await call.output.patiently('Waiting for the provider', work(ops));
  } finally {
    await ops.close();
  }
}
