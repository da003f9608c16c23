import { parseArgs } from 'node:util';
import { loadCredentials } from '../certs/credentials.ts';
import { systemClock } from '../shared/base/clock.ts';
import { loadConfig } from '../shared/base/config.ts';
import { toWardcastError, WardcastError } from '../shared/base/errors.ts';
import { createLog } from '../shared/base/log.ts';
import { ProviderConfig } from './config.ts';
import { startProvider } from './provider.ts';

async function main(): Promise<void> {
  const { values } = parseArgs({ options: { config: { type: 'string' } } });
  if (values.config === undefined)
    throw new WardcastError('USAGE', 'No configuration was named', { remedy: 'Run `node provider/main.ts --config provider.toml`.' });
  const config = await loadConfig(values.config, ProviderConfig);
  log = createLog({ component: 'provider', level: config.log.level });
  const stopped = Promise.withResolvers<void>();
  for (const signal of ['SIGTERM', 'SIGINT'] as const) process.once(signal, () => stopped.resolve());
  const provider = await startProvider({
    data: config.data,
    trust: config.trust,
    keys: config.keys,
    credentials: await loadCredentials(config.credentials, systemClock),
    listen: config.listen,
    clock: systemClock,
    log,
  });
  log.info('ready', { port: provider.port, host: config.listen.host });
  try {
    await Promise.race([stopped.promise, provider.failed]);
  } finally {
    await provider.close();
  }
  log.info('stopped');
}

let log = createLog({ component: 'provider' });
try {
  await main();
} catch (error) {
  const why = toWardcastError(error, 'INTERNAL', 'The provider cannot go on');
  log.error('fatal', { code: why.code, message: why.message, ...(why.remedy === undefined ? {} : { remedy: why.remedy }), error: why });
  process.exitCode = 1;
}
