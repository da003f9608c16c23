import type { Confirmation } from '../../shared/wire/messages.ts';
import type { BundleMoved, DeviceMoved, Moved, SiteMoved } from './rows.ts';

/** The three sums that a confirmation adds to. */
export interface MovedRows<B, D, S> {
  readonly device: D;
  readonly bundle: B;
  readonly site: S;
}
type Before = MovedRows<BundleMoved | undefined, DeviceMoved | undefined, SiteMoved | undefined>;
type After = MovedRows<BundleMoved, DeviceMoved, SiteMoved>;

/**
 * Where the bytes of one installation came from, added to the sums over its device and release, its bundle, and its site. Pure. Any order of the
 * same confirmations gives the same sums; each is to be added once, which the history of counters tells.
 */
export function confirmedBytes(before: Before, confirmation: Confirmation): After {
  const { customer, site, group, device, application, version, sequence, result, counter, at } = confirmation;
  const { gateway, peer, own, patch = 0 } = confirmation.sources ?? { gateway: 0, peer: 0, own: 0 };
  const add = (was: Moved | undefined): Moved => ({
    gateway: sum(was?.gateway, gateway),
    peer: sum(was?.peer, peer),
    own: sum(was?.own, own),
    // Absent until there is some, so that rows of before stay what they were.
    ...(was?.patch === undefined && patch === 0 ? {} : { patch: sum(was?.patch, patch) }),
    confirmations: sum(was?.confirmations, 1),
  });
  const newest = before.device === undefined || counter > before.device.counter ? { site, group, sequence, result, counter, at } : newestOf(before.device);
  return {
    device: { customer, device, application, version, ...newest, ...add(before.device) },
    bundle: { customer, site, group, sequence, application, version, most: Math.max(before.bundle?.most ?? 0, sum(gateway, peer)), ...add(before.bundle) },
    site: { customer, site, ...add(before.site) },
  };
}

/** Stays a whole number whatever a device claims, in any order. */
function sum(was = 0, more: number): number {
  return Math.min(Number.MAX_SAFE_INTEGER, was + more);
}

type Newest = Pick<DeviceMoved, 'site' | 'group' | 'sequence' | 'result' | 'counter' | 'at'>;
function newestOf({ site, group, sequence, result, counter, at }: DeviceMoved): Newest {
  return { site, group, sequence, result, counter, at };
}
