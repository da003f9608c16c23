import { type Certified, type Identity, identityPath } from '../base/identity.ts';
import type { Revoked } from '../bundle/bundle.ts';

/** What somebody who may say so has revoked: the registry at the provider, a group's signed bundle everywhere else. */
export interface RevocationList {
  readonly revoked: readonly Revoked[];
  /** Groups whose earlier CAs are retired. */
  readonly oldestCas: readonly { readonly customer: string; readonly group: string; readonly generation: number }[];
  /** Customers that left. */
  readonly retired: readonly string[];
}

/** Several lists as one: of two words about the same, the stricter counts. */
export interface RevocationIndex {
  /** By identity path: milliseconds since 1970. */
  readonly until: ReadonlyMap<string, number>;
  /** By `customer/group`. */
  readonly oldest: ReadonlyMap<string, number>;
  readonly retired: ReadonlySet<string>;
}

export function indexRevocations(lists: Iterable<RevocationList>): RevocationIndex {
  const until = new Map<string, number>();
  const oldest = new Map<string, number>();
  const retired = new Set<string>();
  for (const list of lists) {
    for (const entry of list.revoked) {
      const last = Date.parse(entry.until);
      // No possible date: it must not take the place of one.
      if (!Number.isNaN(last)) until.set(entry.identity, Math.max(until.get(entry.identity) ?? 0, last));
    }
    for (const { customer, group, generation } of list.oldestCas) {
      const name = `${customer}/${group}`;
      oldest.set(name, Math.max(oldest.get(name) ?? 1, generation));
    }
    for (const customer of list.retired) retired.add(customer);
  }
  return { until, oldest, retired };
}

/**
 * Why this certificate is refused; undefined: nothing speaks against it. Pure; every door asks it, of whoever dials and of whoever is dialled.
 * By date of issue and not by serial: whatever else a thief has had issued to the same name up to then is refused with it, known here or not,
 * while the name itself stays free for a certificate made afterwards.
 */
export function revokedBecause({ until, oldest, retired }: RevocationIndex, { identity, issued, generation }: Certified): string | undefined {
  const path = identityPath(identity);
  const last = until.get(path);
  if (last !== undefined && issued <= last) return `Certificates of ${path} issued up to ${isoSeconds(last)} are revoked`;
  const customer = customerOf(identity);
  if (customer === undefined) return undefined;
  if (retired.has(customer)) return `Customer ${customer} is retired`;
  if (!('group' in identity)) return undefined;
  const accepted = oldest.get(`${customer}/${identity.group}`) ?? 1;
  if (generation < accepted) return `Generation ${generation} of the CA of group ${customer}/${identity.group} is retired, ${accepted} is the oldest accepted`;
  return undefined;
}

/** What a group's verified bundle says about it. */
export function revocationsOf(bundle: {
  readonly customer: string;
  readonly group: string;
  readonly revoked?: readonly Revoked[] | undefined;
  readonly oldestCa?: number | undefined;
}): RevocationList {
  const { customer, group, revoked = [], oldestCa } = bundle;
  return { revoked, oldestCas: oldestCa === undefined ? [] : [{ customer, group, generation: oldestCa }], retired: [] };
}

/** The same, as it is told to the devices of the group before the bundle's content is here. */
export function toldOf({ customer, group }: { readonly customer: string; readonly group: string }, list: RevocationList | undefined): Told {
  const generation = list?.oldestCas.find((retired) => retired.customer === customer && retired.group === group)?.generation;
  return {
    ...(list === undefined || list.revoked.length === 0 ? {} : { revoked: [...list.revoked] }),
    ...(generation === undefined ? {} : { oldestCa: generation }),
  };
}

interface Told {
  revoked?: Revoked[];
  oldestCa?: number;
}

/** RFC 3339 in whole seconds, the resolution of certificates. */
export function isoSeconds(time: number): string {
  return `${new Date(time).toISOString().slice(0, 19)}Z`;
}

function customerOf(identity: Identity): string | undefined {
  return 'customer' in identity ? identity.customer : undefined;
}
