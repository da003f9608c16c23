import { pino } from 'pino';
import { MAX_LOGGED_MESSAGE } from './limits.ts';

/** What a log line may carry besides its event name: ids and figures, never secrets. */
export type LogFields = Readonly<Record<string, unknown>>;
export type LogLevel = 'debug' | 'info' | 'warn' | 'error';

/** JSON lines on standard error: `{"time","level","component","event",…ids}`. */
export interface Log {
  debug(event: string, fields?: LogFields): void;
  info(event: string, fields?: LogFields): void;
  warn(event: string, fields?: LogFields): void;
  error(event: string, fields?: LogFields): void;
  child(fields: LogFields): Log;
}

export function createLog(options: { component: string; level?: LogLevel; fd?: number }): Log {
  const logger = pino(
    {
      level: options.level ?? 'info',
      base: { component: options.component },
      timestamp: pino.stdTimeFunctions.isoTime,
      formatters: { level: (label) => ({ level: label }) },
      serializers: { error: serializeError },
    },
    pino.destination({ fd: options.fd ?? 2, sync: true }),
  );
  return wrap(logger);
}

export const silentLog: Log = {
  debug: () => undefined,
  info: () => undefined,
  warn: () => undefined,
  error: () => undefined,
  child: () => silentLog,
};

function wrap(logger: pino.Logger): Log {
  return {
    debug: (event, fields) => logger.debug({ event, ...fields }),
    info: (event, fields) => logger.info({ event, ...fields }),
    warn: (event, fields) => logger.warn({ event, ...fields }),
    error: (event, fields) => logger.error({ event, ...fields }),
    child: (fields) => wrap(logger.child(fields)),
  };
}

function serializeError(error: unknown): unknown {
  if (!(error instanceof Error)) return error;
  const code = 'code' in error ? { code: error.code } : {};
  const cause = error.cause === undefined ? {} : { cause: serializeError(error.cause) };
  return { ...code, message: shortened(error.message), ...cause };
}

/** Some messages quote what a stranger sent, a line for each thing that is wrong with it. */
function shortened(message: string): string {
  return message.length <= MAX_LOGGED_MESSAGE ? message : `${message.slice(0, MAX_LOGGED_MESSAGE)}… (${message.length} characters)`;
}
