import type { z } from 'zod';
import type { PendingRow } from '../../shared/wire/ops.ts';
import type { Note, Registry } from '../registry/registry.ts';

/** A device that waits for approval by hand. Beside the log: it becomes a record by the decision. */
export type Pending = z.infer<typeof PendingRow>;

export function pendingNote({ customer, device, key }: Pick<Pending, 'customer' | 'device' | 'key'>): Note<Pending> {
  return { text: `enrolment/${customer}/${device}/${key}` };
}

export function pendings(registry: Registry, customer?: string): AsyncIterable<Pending> {
  const prefix: Note<Pending> = { text: customer === undefined ? 'enrolment/' : `enrolment/${customer}/` };
  return registry.notes(prefix);
}
