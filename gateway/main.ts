import { readFile } from 'node:fs/promises';
import { parseArgs } from 'node:util';
import { systemClock } from '../shared/base/clock.ts';
import { loadConfig } from '../shared/base/config.ts';
import { toWardcastError, WardcastError } from '../shared/base/errors.ts';
import { createLog } from '../shared/base/log.ts';
import { GatewayConfig } from './config.ts';
import { startGateway } from './gateway.ts';

/** `node gateway/main.ts --config gateway.toml`: JSON lines on standard error, a clean stop on SIGTERM and SIGINT. */
async function main(): Promise<void> {
  const stop = new Promise<string>((resolve) => {
    for (const name of ['SIGTERM', 'SIGINT'] as const) process.once(name, () => resolve(name));
  });
  const config = await loadConfig(configFile(), GatewayConfig);
  const log = createLog({ component: 'gateway', level: config.log.level });
  const { version }: { version: string } = JSON.parse(await readFile(new URL('../package.json', import.meta.url), 'utf8'));
  const gateway = await startGateway({ config, version, clock: systemClock, log });
  const reason = await Promise.race([stop, gateway.failed]);
  log.info('stopping', typeof reason === 'string' ? { signal: reason } : { error: reason });
  await gateway.close();
  if (typeof reason !== 'string') throw reason;
  log.info('stopped');
}

function configFile(): string {
  try {
    const { values } = parseArgs({ options: { config: { type: 'string' } } });
    if (values.config !== undefined) return values.config;
  } catch (error) {
    throw new WardcastError('USAGE', error instanceof Error ? error.message : String(error), { remedy: 'node gateway/main.ts --config gateway.toml' });
  }
  throw new WardcastError('USAGE', 'No configuration was named', { remedy: 'node gateway/main.ts --config gateway.toml' });
}

main().then(
  () => process.exit(0),
  (error: unknown) => {
    createLog({ component: 'gateway' }).error('fatal', { ...toWardcastError(error).toJSON(), error });
    process.exit(1);
  },
);
