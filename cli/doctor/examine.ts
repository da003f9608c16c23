import { readFile } from 'node:fs/promises';
import path from 'node:path';
import { parse } from 'smol-toml';
import { AgentConfig, parseAddress } from '../../agent/config.ts';
import { type Credentials, loadCredentials } from '../../certs/credentials.ts';
import { GatewayConfig } from '../../gateway/config.ts';
import { readOfflineMetadata, readOnlineKeys } from '../../provider/deliver/trust-directory.ts';
import { systemClock } from '../../shared/base/clock.ts';
import { loadConfig } from '../../shared/base/config.ts';
import { systemCode, WardcastError } from '../../shared/base/errors.ts';
import { type Identity, identityPath } from '../../shared/base/identity.ts';
import type { Options } from '../command.ts';
import { opsAddress } from '../connection.ts';
import { type Finding, fail, ok, warn } from './finding.ts';
import { clock, disk, factoryRoot, lanInterface, trustedTime } from './machine.ts';
import { providerAnswers, reach } from './reach.ts';

const DAY = 24 * 60 * 60 * 1000;
/** Days before its end when a certificate is called old: time for a person to act. */
const RENEW_DAYS = 14;

/** Looks at everything a daemon (or ops) needs on this machine, as far as each finding allows to look further. Changes nothing. */
export async function examine(config: string | undefined, options: Options, signal: AbortSignal): Promise<Finding[]> {
  const first = clock(systemClock.now());
  try {
    return [first, ...(config === undefined ? await ops(options, signal) : await daemon(config))];
  } catch (error) {
    return [first, fail('config', error)];
  }
}

async function daemon(file: string): Promise<Finding[]> {
  switch (await kindOf(file)) {
    case 'provider':
      return provider(file);
    case 'gateway':
      return gateway(file);
    case 'agent':
      return agent(file);
  }
}

/** Which daemon a file is for, by the tables that only it has. @throws CONFIG_INVALID */
async function kindOf(file: string): Promise<'provider' | 'gateway' | 'agent'> {
  let raw: Record<string, unknown>;
  try {
    raw = parse(await readFile(file, 'utf8'));
  } catch (error) {
    throw new WardcastError('CONFIG_INVALID', `${file} cannot be read: ${systemCode(error) ?? (error instanceof Error ? error.message : String(error))}`, {
      remedy: 'Name a provider.toml, gateway.toml or agent.toml.',
      cause: error,
    });
  }
  if ('trust' in raw || 'keys' in raw || 'listen' in raw) return 'provider';
  return 'uplink' in raw || 'retention' in raw ? 'gateway' : 'agent';
}

async function provider(file: string): Promise<Finding[]> {
  const { ProviderConfig } = await import('../../provider/config.ts');
  const config = await loadConfig(file, ProviderConfig);
  return [
    ok('config', `${file}: a provider's`),
    ...(await certificate(config.credentials, 'provider')).findings,
    await attempt('keys', async () => {
      await readOnlineKeys(config.keys);
      return `${config.keys}: assignment, snapshot and timestamp keys`;
    }),
    await attempt('trust', async () => {
      const { roots } = await readOfflineMetadata(config.trust);
      return `${config.trust}: ${roots.length} root version${roots.length === 1 ? '' : 's'} and targets`;
    }),
    await disk('disk', config.data),
  ];
}

async function gateway(file: string): Promise<Finding[]> {
  const config = await loadConfig(file, GatewayConfig);
  const { credentials, findings } = await certificate(config.credentials, 'gateway');
  const line = { ...config.uplink, serverName: config.uplink.server_name };
  return [
    ok('config', `${file}: a gateway's`),
    ...findings,
    await factoryRoot(config.root),
    await disk('disk', config.data),
    await trustedTime(config.data, systemClock.now()),
    lanInterface(config.lan.host, config.lan.interface ?? config.lan.host),
    ...(credentials === undefined ? [] : [await reach('line', line, credentials, (identity) => identity.role === 'provider')]),
  ];
}

async function agent(file: string): Promise<Finding[]> {
  const config = await loadConfig(file, AgentConfig);
  const { credentials, findings } = await certificate(config.credentials, 'device');
  const { address } = config.gateway;
  const ours = (identity: Identity): boolean =>
    identity.role === 'gateway' &&
    credentials?.identity.role === 'device' &&
    identity.customer === credentials.identity.customer &&
    identity.site === credentials.identity.site;
  return [
    ok('config', `${file}: a device's agent`),
    ...findings,
    await factoryRoot(config.root),
    await disk('disk', config.data),
    await trustedTime(config.data, systemClock.now()),
    await disk('apps', config.install.directory),
    lanInterface(config.lan.host, config.lan.interface ?? config.lan.host),
    ...(credentials === undefined || address === undefined ? [] : [await reach('gateway', parseAddress(address), credentials, ours)]),
  ];
}

async function ops(options: Options, signal: AbortSignal): Promise<Finding[]> {
  const address = await opsAddress(options);
  const { credentials, findings } = await certificate(address.credentials, 'ops');
  if (credentials === undefined) return findings;
  const reached = await reach('provider', address, credentials, (identity) => identity.role === 'provider');
  if (reached.state === 'fail') return [...findings, reached];
  return [...findings, reached, await attempt('answers', () => providerAnswers(address, signal))];
}

async function certificate(folder: string, role: Identity['role']): Promise<{ credentials: Credentials | undefined; findings: Finding[] }> {
  try {
    const credentials = await loadCredentials(folder, systemClock);
    const name = identityPath(credentials.identity);
    if (credentials.identity.role !== role) {
      const wrong = new WardcastError('CERT_WRONG_ROLE', `${path.join(folder, 'chain.pem')} is for ${name}, and a ${role} is needed`, {
        remedy: `Issue one with \`wardcast pki ${role}\`.`,
      });
      return { credentials: undefined, findings: [fail('certificate', wrong)] };
    }
    const days = Math.floor((credentials.expires.getTime() - systemClock.now()) / DAY);
    const text = `valid until ${credentials.expires.toISOString().slice(0, 10)} (${days} days)`;
    const expiry =
      days < RENEW_DAYS
        ? warn('expiry', text, 'Issue a new certificate now with `wardcast pki`, replace the folder, and restart the daemon.')
        : ok('expiry', text);
    return { credentials, findings: [ok('certificate', name), expiry] };
  } catch (error) {
    return { credentials: undefined, findings: [fail('certificate', error)] };
  }
}

async function attempt(what: string, work: () => Promise<string>): Promise<Finding> {
  try {
    return ok(what, await work());
  } catch (error) {
    return fail(what, error);
  }
}
