import type { z } from 'zod';
import type { Scope } from '../../shared/base/identity.ts';
import { BUNDLES_SHOWN } from '../../shared/base/limits.ts';
import type { BundleRow } from '../../shared/wire/ops.ts';
import { prefixes } from '../registry/rows.ts';
import type { Desk } from './action.ts';

type Row = z.input<typeof BundleRow>;

export const NOTHING = { gateway: 0, peer: 0, own: 0, patch: 0 } as const;

/** The newest bundles of a group, the newest first: what its gateway reports beside what its devices have signed. */
export async function bundleRows({ registry, reports }: Pick<Desk, 'registry' | 'reports'>, scope: Scope, newest: number): Promise<Row[]> {
  const told = (await reports.counters(scope.customer, scope.site))?.content.bundles ?? [];
  const rows: Row[] = [];
  for (let sequence = newest; sequence > 0 && sequence > newest - BUNDLES_SHOWN; sequence--) {
    const sum = { confirmations: 0, ...NOTHING, lacked: 0 };
    for await (const release of registry.list(prefixes.bundleMoved(scope, sequence))) {
      sum.confirmations += release.confirmations;
      sum.gateway += release.gateway;
      sum.peer += release.peer;
      sum.own += release.own;
      sum.patch += release.patch ?? 0;
      sum.lacked += release.most;
    }
    const { customer, site, group } = scope;
    const counters = told.find((one) => one.group === group && one.sequence === sequence);
    const sent = counters?.gateway ?? null;
    rows.push({ customer, site, group, sequence, line: counters?.line ?? null, sent, ...sum, copies: ratio(sent, sum.lacked) });
  }
  return rows;
}

/** Null where there is nothing to divide, or nothing to divide by. */
export function ratio(part: number | null | undefined, whole: number | null | undefined): number | null {
  return part == null || whole == null || whole === 0 ? null : part / whole;
}
