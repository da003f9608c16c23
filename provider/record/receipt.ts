import type { Receipt, Statement } from '../../shared/wire/messages.ts';
import type { Verdict } from './statement.ts';

/** Where a recorded statement stands in the log. */
export interface Entry {
  readonly sequence: number;
  readonly hash: string;
}

/** The provider's word on a statement. `highest`: the highest counter recorded of the device, this one included. */
export function receiptFor(
  statement: Statement,
  digest: string,
  o: { readonly verdict: Verdict; readonly highest: number; readonly entry: Entry | undefined; readonly at: string },
): Receipt {
  const { customer, site, group, device, counter } = statement;
  const { verdict, highest, entry, at } = o;
  const outcome = verdict.outcome === 'record' || verdict.outcome === 'again' ? 'recorded' : verdict.outcome;
  return {
    type: 'receipt',
    customer,
    site,
    group,
    device,
    counter,
    digest,
    outcome,
    highest,
    ...(verdict.outcome === 'refused' ? { reason: `${verdict.code}: ${verdict.message}`.slice(0, 500) } : {}),
    ...(entry === undefined ? {} : { entry: { sequence: entry.sequence, hash: entry.hash } }),
    at,
  };
}
