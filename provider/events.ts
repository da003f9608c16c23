import type { z } from 'zod';
import { type Clock, timestamp } from '../shared/base/clock.ts';
import { toWardcastError } from '../shared/base/errors.ts';
import type { Log } from '../shared/base/log.ts';
import type { Broker } from '../shared/net/broker.ts';
import { Statement } from '../shared/wire/messages.ts';
import type { EventBody, EventType, LogRow } from '../shared/wire/ops.ts';
import { event } from '../shared/wire/topics.ts';
import type { LogEntry } from './record/log.ts';

/** Tells ops what changes, at most once: whoever needs the truth asks for it. */
export class Events {
  readonly #broker: Pick<Broker, 'publish'>;
  readonly #clock: Clock;
  readonly #log: Log;

  constructor(o: { broker: Pick<Broker, 'publish'>; clock: Clock; log: Log }) {
    this.#broker = o.broker;
    this.#clock = o.clock;
    this.#log = o.log;
  }

  tell<T extends EventType>(type: T, body: Omit<EventBody<T>, 'at'>): void {
    const payload = Buffer.from(JSON.stringify({ at: timestamp(this.#clock), ...body }), 'utf8');
    this.#broker.publish(event(type), payload, { qos: 0 }).catch((error: unknown) => {
      this.#log.warn('event.lost', { type, error: toWardcastError(error) });
    });
  }
}

/** A log entry as ops see it: of a statement also what it says, since its payload is in base64. */
export function logRow(entry: LogEntry): z.output<typeof LogRow> {
  const { sequence, hash, at, actor, change } = entry;
  if (change.type !== 'statement') return { sequence, hash, at, actor, change };
  const statement = Statement.parse(JSON.parse(Buffer.from(change.payload, 'base64').toString('utf8')));
  return { sequence, hash, at, actor, change: { ...change, statement } };
}
