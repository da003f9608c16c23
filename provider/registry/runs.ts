import type { Scope } from '../../shared/base/identity.ts';
import { sha256 } from '../../shared/bundle/digest.ts';
import { type Key, keys, type RunsRow, type Standing } from './rows.ts';

/**
 * How many devices of a group at a site run the same: what a plan has to know, so that it reads a row for each difference and not one for each
 * device. Follows from the rows of devices and standings alone, so in whatever order statements came the counts are the same.
 */

type Read = <T>(key: Key<T>) => T | undefined;
interface Write {
  readonly key: string;
  readonly value: unknown;
}
/** One device at a place, with what it said last. */
interface Placed {
  readonly scope: Scope;
  readonly standing: Standing | undefined;
}

/** One device runs something else, or at another place. `from` undefined: it is new; `to` undefined: it is gone. */
export function counted(read: Read, from: Placed | undefined, to: Placed | undefined): readonly Write[] {
  const before = from === undefined ? undefined : rowOf(from);
  const after = to === undefined ? undefined : rowOf(to);
  if (before?.key.text === after?.key.text) return [];
  return [...(before === undefined ? [] : [changed(read, before, -1)]), ...(after === undefined ? [] : [changed(read, after, 1)])];
}

function changed(read: Read, { key, row }: ReturnType<typeof rowOf>, by: number): Write {
  const devices = (read(key)?.devices ?? 0) + by;
  return { key: key.text, value: devices > 0 ? { ...row, devices } : undefined };
}

/** A device's last statement is asked for its name twice: as what comes, and next time as what was. Rows are remembered, so it is the same array. */
const names = new WeakMap<Standing['running'], string>();

/** A device may claim any text as an application's version, but keys are to be short. */
function nameOf(standing: Standing | undefined, running: RunsRow['running']): string {
  if (standing === undefined || running.length === 0) return 'nothing';
  const known = names.get(standing.running);
  if (known !== undefined) return known;
  const name = sha256(Buffer.from(JSON.stringify(running), 'utf8'));
  names.set(standing.running, name);
  return name;
}

function rowOf({ scope: { customer, site, group }, standing }: Placed) {
  const running = runningOf(standing);
  const row: Omit<RunsRow, 'devices'> = { customer, site, group, running };
  return { key: keys.runs({ customer, site, group }, nameOf(standing, running)), row };
}

/** Who has never spoken runs nothing that is known. */
export function runningOf(standing: Standing | undefined): RunsRow['running'] {
  return (standing?.running ?? []).flatMap(({ application, manifest }) => (manifest === null ? [] : [[application, manifest] as const]));
}
