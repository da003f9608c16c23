import type { z } from 'zod';
import { type Clock, timestamp } from '../../shared/base/clock.ts';
import type { AlarmRow } from '../../shared/wire/ops.ts';
import type { Events } from '../events.ts';
import type { Note, Registry } from '../registry/registry.ts';

export type Alarm = z.infer<typeof AlarmRow>;

type About<T> = Pick<Alarm, 'customer' | 'site' | 'device' | 'message'> & { readonly type: T };

/** Devices about which something cannot be right. Kept until ops dismiss them; beside the log, since a suspicion is no record. */
export class Alarms {
  readonly #registry: Registry;
  readonly #events: Pick<Events, 'tell'>;
  readonly #clock: Clock;

  constructor(o: { registry: Registry; events: Pick<Events, 'tell'>; clock: Clock }) {
    this.#registry = o.registry;
    this.#events = o.events;
    this.#clock = o.clock;
  }

  /** As an event too. Resolves when it is durable. */
  async raise(about: About<Exclude<Alarm['type'], 'log-contradicted'>>, actor: string): Promise<void> {
    await this.keep(about, actor);
    const { type, customer, site, device, message } = about;
    this.#events.tell(type, { customer, site, device, message });
  }

  /** Without an event: whoever saw it tells it in other words. */
  async keep(about: About<Alarm['type']>, actor: string): Promise<void> {
    const { type, customer, site, device, message } = about;
    const at = timestamp(this.#clock);
    const key = alarmNote(about);
    const before = await this.#registry.note(key);
    const alarm: Alarm = { type, customer, site, device, message, first: before?.first ?? at, last: at, count: (before?.count ?? 0) + 1 };
    await this.#registry.transact(actor, () => ({ result: undefined, notes: [{ key, value: alarm }] }));
  }
}

export function alarms(registry: Registry, customer?: string): AsyncIterable<Alarm> {
  const prefix: Note<Alarm> = { text: customer === undefined ? 'alarm/' : `alarm/${customer}/` };
  return registry.notes(prefix);
}

export function alarmNote({ customer, device, type }: Pick<Alarm, 'customer' | 'device' | 'type'>): Note<Alarm> {
  return { text: `alarm/${customer}/${device}/${type}` };
}
