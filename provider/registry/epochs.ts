import type { Scope } from '../../shared/base/identity.ts';
import type { Key } from './rows.ts';

/** How often somebody left, or a new epoch was ordered: of one group at one site, or of a group at all sites. */
export interface EpochRow {
  readonly rotations: number;
}

type ReadRow = <T>(key: Key<T>) => T | undefined;

export const epochKeys = {
  scope: ({ customer, site, group }: Scope): Key<EpochRow> => ({ text: `epoch/${customer}/${site}/${group}` }),
  group: (customer: string, group: string): Key<EpochRow> => ({ text: `epoch-group/${customer}/${group}` }),
};

/** From 1. It follows from the log alone: whoever is out of the group by an entry is out of the epoch by the same one. */
export function epochOf(rows: { readonly scope: EpochRow | undefined; readonly group: EpochRow | undefined }): number {
  return 1 + (rows.scope?.rotations ?? 0) + (rows.group?.rotations ?? 0);
}

export function nextEpoch(key: Key<EpochRow>, read: ReadRow): { readonly key: string; readonly value: EpochRow } {
  return { key: key.text, value: { rotations: (read(key)?.rotations ?? 0) + 1 } };
}
