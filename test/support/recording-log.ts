import type { Log, LogFields, LogLevel } from '../../shared/base/log.ts';

export interface LogLine extends LogFields {
  readonly level: LogLevel;
  readonly event: string;
}

/** A log that tests read. */
export class RecordingLog implements Log {
  readonly lines: LogLine[] = [];
  readonly #waiting = new Set<() => void>();

  readonly debug = (event: string, fields?: LogFields): void => this.#add('debug', event, fields);
  readonly info = (event: string, fields?: LogFields): void => this.#add('info', event, fields);
  readonly warn = (event: string, fields?: LogFields): void => this.#add('warn', event, fields);
  readonly error = (event: string, fields?: LogFields): void => this.#add('error', event, fields);
  child(): Log {
    return this;
  }

  all(event: string): LogLine[] {
    return this.lines.filter((line) => line.event === event);
  }

  /** The first line of this event that fits, now or later; the test's own time limit ends the wait. */
  async seen(event: string, fits: (line: LogLine) => boolean = () => true): Promise<LogLine> {
    for (;;) {
      const line = this.all(event).find(fits);
      if (line !== undefined) return line;
      await new Promise<void>((resolve) => this.#waiting.add(resolve));
    }
  }

  #add(level: LogLevel, event: string, fields: LogFields = {}): void {
    this.lines.push({ ...fields, level, event });
    for (const wake of this.#waiting) wake();
    this.#waiting.clear();
  }
}
