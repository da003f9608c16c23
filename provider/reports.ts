import type { z } from 'zod';
import type { GatewayIdentity, Scope } from '../shared/base/identity.ts';
import { scopePath } from '../shared/base/identity.ts';
import type { Progress, Seen, SeenDevice } from '../shared/wire/messages.ts';
import type { Note, NoteWrite, Registry } from './registry/registry.ts';

type SeenAt = { readonly customer: string; readonly site: string } & z.output<typeof SeenDevice>;

interface SeenNote {
  readonly customer: string;
  readonly site: string;
  readonly seen: Seen;
}

function seenNote(customer: string, site: string): Note<SeenNote> {
  return { text: `seen/${customer}/${site}` };
}
/** The counters alone: small, and read far more often than the list of devices they come with. */
export interface CountersNote {
  readonly customer: string;
  readonly site: string;
  readonly line: Seen['line'];
  readonly content: Seen['content'];
}
function countersNote(customer: string, site: string): Note<CountersNote> {
  return { text: `counters/${customer}/${site}` };
}
function relayedNote(scope: Scope): Note<number> {
  return { text: `relayed/${scopePath(scope)}` };
}

/** What gateways say of themselves. Kept, but no part of the log: only devices' signed words are records. */
export class Reports {
  readonly #registry: Registry;

  constructor(registry: Registry) {
    this.#registry = registry;
  }

  /** @returns devices of which two processes were heard in turns, since the last report */
  async seen({ customer, site }: GatewayIdentity, seen: Seen, actor: string): Promise<SeenDevice[]> {
    const { line, content } = seen;
    const twice = seen.devices.filter(({ identity, contradicted }) => identity !== null && contradicted !== undefined);
    const before = twice.length === 0 ? undefined : await this.#registry.note(seenNote(customer, site));
    const known = new Set(before?.seen.devices.map((device) => `${device.identity?.device} ${device.contradicted}`));
    await this.#write(actor, [
      { key: seenNote(customer, site), value: { customer, site, seen } satisfies SeenNote },
      { key: countersNote(customer, site), value: { customer, site, line, content } satisfies CountersNote },
    ]);
    return twice.filter((device) => !known.has(`${device.identity?.device} ${device.contradicted}`));
  }

  /** The newest complete bundle of each group that the gateway holds. */
  async hello({ customer, site }: GatewayIdentity, groups: readonly { group: string; sequence: number }[], actor: string): Promise<void> {
    await this.#write(
      actor,
      groups.map(({ group, sequence }) => ({ key: relayedNote({ customer, site, group }), value: sequence })),
    );
  }

  async progress({ customer, site }: GatewayIdentity, { phase, group, sequence }: Progress, actor: string): Promise<void> {
    if (phase !== 'relayed') return;
    await this.#write(actor, [{ key: relayedNote({ customer, site, group }), value: sequence }]);
  }

  async relayed(scope: Scope): Promise<number> {
    return (await this.#registry.note(relayedNote(scope))) ?? 0;
  }

  async counters(customer: string, site: string): Promise<CountersNote | undefined> {
    return this.#registry.note(countersNote(customer, site));
  }

  allCounters(): AsyncIterable<CountersNote> {
    const prefix: Note<CountersNote> = { text: 'counters/' };
    return this.#registry.notes(prefix);
  }

  async *devices(customer?: string, site?: string): AsyncGenerator<SeenAt> {
    const prefix: Note<SeenNote> = { text: customer === undefined ? 'seen/' : `seen/${customer}/` };
    for await (const note of this.#registry.notes(prefix)) {
      if (site !== undefined && note.site !== site) continue;
      for (const device of note.seen.devices) yield { customer: note.customer, site: note.site, ...device };
    }
  }

  /** Whose machine has a wrong clock, by its own word; without a device: the gateway. */
  async *clocks(
    customer?: string,
    site?: string,
  ): AsyncGenerator<{ customer: string; site: string; group: string | null; device: string | null; seconds: number }> {
    const prefix: Note<SeenNote> = { text: customer === undefined ? 'seen/' : `seen/${customer}/` };
    for await (const { seen, ...at } of this.#registry.notes(prefix)) {
      if (site !== undefined && at.site !== site) continue;
      if (seen.clock !== undefined) yield { ...at, group: null, device: null, seconds: seen.clock };
      for (const { identity, clock } of seen.devices) if (identity !== null && clock !== undefined) yield { ...at, ...identity, seconds: clock };
    }
  }

  async #write(actor: string, notes: readonly NoteWrite[]): Promise<void> {
    if (notes.length === 0) return;
    await this.#registry.transact(actor, () => ({ result: undefined, notes }));
  }
}
