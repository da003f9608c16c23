import { readFile } from 'node:fs/promises';
import { parseArgs } from 'node:util';
import { systemClock } from '../shared/base/clock.ts';
import { loadConfig } from '../shared/base/config.ts';
import { toWardcastError, WardcastError } from '../shared/base/errors.ts';
import { createLog } from '../shared/base/log.ts';
import { startAgent } from './agent.ts';
import { AgentConfig } from './config.ts';

/** `node agent/main.ts --config agent.toml`: JSON lines on standard error, a clean stop on SIGTERM and SIGINT. */
async function main(): Promise<void> {
  const stop = new Promise<string>((resolve) => {
    for (const name of ['SIGTERM', 'SIGINT'] as const) process.once(name, () => resolve(name));
  });
  const config = await loadConfig(configFile(), AgentConfig);
  const log = createLog({ component: 'agent', level: config.log.level });
  const { version }: { version: string } = JSON.parse(await readFile(new URL('../package.json', import.meta.url), 'utf8'));
  const agent = await startAgent({ config, version, clock: systemClock, log });
  log.info('stopping', { signal: await stop });
  await agent.close();
  log.info('stopped');
}

function configFile(): string {
  try {
    const { values } = parseArgs({ options: { config: { type: 'string' } } });
    if (values.config !== undefined) return values.config;
  } catch (error) {
    throw new WardcastError('USAGE', error instanceof Error ? error.message : String(error), { remedy: 'node agent/main.ts --config agent.toml' });
  }
  throw new WardcastError('USAGE', 'No configuration was named', { remedy: 'node agent/main.ts --config agent.toml' });
}

main().then(
  () => process.exit(0),
  (error: unknown) => {
    createLog({ component: 'agent' }).error('fatal', { ...toWardcastError(error).toJSON(), error });
    process.exit(1);
  },
);
