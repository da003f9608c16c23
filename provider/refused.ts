import { identityPath } from '../shared/base/identity.ts';
import type { Revocations } from '../shared/net/revocations.ts';
import type { EventBody } from '../shared/wire/ops.ts';
import type { RevocationList } from '../shared/wire/revocation.ts';
import type { Change } from './registry/changes.ts';
import type { Registry } from './registry/registry.ts';
import { type OldestCaRow, type RevokedRow, revokedKeys } from './registry/revoked.ts';
import { prefixes } from './registry/rows.ts';

/** Has the doors refuse what the registry says is revoked: all of it now, and every further order the moment it is on the log. */
export async function followRegistry(registry: Registry, revocations: Revocations): Promise<void> {
  registry.onEntry(({ sequence, change }) => {
    const list = listOf(change);
    if (list !== undefined) revocations.learn(`entry/${sequence}`, list);
  });
  const revoked: RevokedRow[] = [];
  const oldestCas: OldestCaRow[] = [];
  const retired: string[] = [];
  for await (const row of registry.list(revokedKeys.within())) revoked.push(row);
  for await (const row of registry.list(revokedKeys.oldestCas())) oldestCas.push(row);
  for await (const row of registry.list(prefixes.customers())) if (row.retired !== undefined) retired.push(row.customer);
  revocations.learn('rows', { revoked, oldestCas, retired });
}

/** What an entry of the log adds; undefined: nothing. */
function listOf(change: Change): RevocationList | undefined {
  const nothing: RevocationList = { revoked: [], oldestCas: [], retired: [] };
  switch (change.type) {
    case 'device-revoked':
      return { ...nothing, revoked: [{ identity: identityPath({ ...change, role: 'device' }), until: change.until }] };
    case 'gateway-revoked':
      return { ...nothing, revoked: [{ identity: identityPath({ ...change, role: 'gateway' }), until: change.until }] };
    case 'ops-revoked':
      return { ...nothing, revoked: [{ identity: identityPath({ ...change, role: 'ops' }), until: change.until }] };
    case 'ca-retired':
      return { ...nothing, oldestCas: [{ customer: change.customer, group: change.group, generation: change.oldest }] };
    case 'customer-retired':
      return { ...nothing, retired: [change.customer] };
    default:
      // A device that moved has no business at the provider's door, before or after.
      return undefined;
  }
}

/** The event that tells ops of it. */
export function revokedEvent(change: Change): Omit<EventBody<'revoked'>, 'at'> | undefined {
  switch (change.type) {
    case 'device-revoked':
      return { what: 'device', customer: change.customer, identity: identityPath({ ...change, role: 'device' }), until: change.until, reason: change.reason };
    case 'gateway-revoked':
      return { what: 'gateway', customer: change.customer, identity: identityPath({ ...change, role: 'gateway' }), until: change.until, reason: change.reason };
    case 'ops-revoked':
      return { what: 'ops', identity: identityPath({ ...change, role: 'ops' }), until: change.until, reason: change.reason };
    case 'ca-retired':
      return { what: 'group-ca', customer: change.customer, group: change.group, oldest: change.oldest, reason: change.reason };
    case 'customer-retired':
      return { what: 'customer', customer: change.customer, reason: change.reason };
    case 'device-moved': {
      const { customer, device, from, site, group } = change;
      if (from === undefined) return undefined;
      const identity = identityPath({ role: 'device', customer, site: from.site, group: from.group, device });
      return { what: 'device', customer, identity, until: from.until, reason: `moved to ${site}/${group}` };
    }
    default:
      return undefined;
  }
}
