import { parseArgs } from 'node:util';
import type { z } from 'zod';
import manifest from '../../package.json' with { type: 'json' };
import { loadConfig } from './config.ts';
import { toWardcastError, WardcastError } from './errors.ts';
import { createLog, type Log, type LogLevel } from './log.ts';

/** A started daemon. `failed` rejects when a part it cannot live without dies. */
export interface Running {
  readonly failed?: Promise<never>;
  close(): Promise<void>;
}

/** What every daemon's configuration has. */
type DaemonConfig = z.ZodObject & z.ZodType<{ log: { level: LogLevel } }>;

/** Exit statuses: stopped as asked, could not start or go on, a command line or configuration that is not usable. */
const EXIT = { stopped: 0, failed: 1, usage: 2 } as const;

/**
 * The life of a daemon: `node <component>/main.ts --config FILE` reads its configuration, starts, stops cleanly on SIGTERM and SIGINT, and says the coded
 * reason in its last line when it cannot go on, so that a supervisor restarts it whole.
 */
export async function runDaemon<S extends DaemonConfig>(
  component: string,
  schema: S,
  start: (context: { config: z.output<S>; version: string; log: Log }) => Promise<Running>,
): Promise<void> {
  let log = createLog({ component });
  try {
    const stop = new Promise<string>((resolve) => {
      for (const signal of ['SIGTERM', 'SIGINT'] as const) process.once(signal, () => resolve(signal));
    });
    const config = await loadConfig(configFile(component), schema);
    log = createLog({ component, level: config.log.level });
    const { version } = manifest;
    // Starting may take long: an agent waits for its first certificate. Nothing has to be put away then, since a kill at any moment harms nothing.
    const running = await Promise.race([start({ config, version, log }), stop]);
    if (typeof running === 'string') {
      log.info('stopped', { signal: running, started: false });
      process.exit(EXIT.stopped);
    }
    try {
      log.info('stopping', { signal: await Promise.race([stop, ...(running.failed === undefined ? [] : [running.failed])]) });
    } finally {
      await running.close();
    }
    log.info('stopped');
    process.exit(EXIT.stopped);
  } catch (error) {
    const why = toWardcastError(error, 'INTERNAL', `The ${component} cannot go on`);
    log.error('fatal', { ...why.toJSON(), error: why });
    process.exit(why.code === 'CONFIG_INVALID' || why.code === 'USAGE' ? EXIT.usage : EXIT.failed);
  }
}

function configFile(component: string): string {
  const remedy = `Run \`node ${component}/main.ts --config ${component}.toml\`.`;
  try {
    const { values } = parseArgs({ options: { config: { type: 'string' } } });
    if (values.config !== undefined) return values.config;
  } catch (error) {
    throw new WardcastError('USAGE', error instanceof Error ? error.message : String(error), { remedy, cause: error });
  }
  throw new WardcastError('USAGE', 'No configuration was named', { remedy });
}
