import { WardcastError } from '../../shared/base/errors.ts';
import { type DeviceIdentity, type GatewayIdentity, identityPath, parseIdentityPath } from '../../shared/base/identity.ts';
import { MAX_BUNDLE_REVOKED, MAX_LEAF_DAYS } from '../../shared/base/limits.ts';
import { OPS_ACTIONS } from '../../shared/wire/ops.ts';
import { isoSeconds } from '../../shared/wire/revocation.ts';
import type { Read } from '../registry/project.ts';
import { type RevokedRow, revokedKeys, stillNames } from '../registry/revoked.ts';
import { keys } from '../registry/rows.ts';
import { action, type Call, collect, type Desk, record } from './action.ts';

/** Orders that end trust in certificates. The registry's entry is the order; doors and signed views follow it. */

export const deviceRevoke = action(OPS_ACTIONS['device.revoke'], async (desk, { customer, device, site, group, until, reason }, call) => {
  if ((site === undefined) !== (group === undefined)) throw new WardcastError('USAGE', 'Site and group go together', { remedy: 'Name both, or neither.' });
  const row = await desk.registry.get(keys.device(customer, device));
  const place = site !== undefined && group !== undefined ? { site, group } : row;
  if (place === undefined) {
    throw new WardcastError('NOT_FOUND', `Device ${customer}/${device} does not exist`, {
      remedy: 'Check the spelling with `wardcast device list`; if it was removed, name its site and group.',
    });
  }
  const identity: DeviceIdentity = { role: 'device', customer, site: place.site, group: place.group, device };
  const last = lastMoment(desk, until);
  await leavesRoom(desk, identity, `group/${place.group}`);
  const { role: _, ...who } = identity;
  const done = await record(desk, call, { type: 'device-revoked', ...who, until: last, reason });
  return { ...done, identity: identityPath(identity), until: last };
});

export const gatewayRevoke = action(OPS_ACTIONS['gateway.revoke'], async (desk, { customer, site, gateway, until, reason }, call) => {
  const identity: GatewayIdentity = { role: 'gateway', customer, site, gateway };
  const last = lastMoment(desk, until);
  await leavesRoom(desk, identity, 'gateway');
  const done = await record(desk, call, { type: 'gateway-revoked', customer, site, gateway, until: last, reason });
  return { ...done, identity: identityPath(identity), until: last };
});

export const opsRevoke = action(OPS_ACTIONS['ops.revoke'], async (desk, { name, until, reason }, call) => {
  const identity = identityPath({ role: 'ops', name });
  if (identity === call.actor) {
    // The connection would be cut before the answer is out, and a vendor with one operator would have none.
    throw new WardcastError('CONFLICT', `This order comes from ${identity} itself`, {
      remedy: 'Give it with the certificate of another name: `wardcast pki ops` makes one.',
    });
  }
  const last = lastMoment(desk, until);
  const done = await record(desk, call, { type: 'ops-revoked', name, until: last, reason });
  return { ...done, identity, until: last };
});

export const groupRetireCa = action(OPS_ACTIONS['group.retire-ca'], (desk, params, call) => record(desk, call, { type: 'ca-retired', ...params }));
export const customerRetire = action(OPS_ACTIONS['customer.retire'], (desk, params, call) => record(desk, call, { type: 'customer-retired', ...params }));

/** Its certificate for where it was loses its rights with the move itself, not when somebody remembers to revoke it. */
export const deviceMove = action(OPS_ACTIONS['device.move'], async (desk, params, call) => {
  const { customer, device, site, group } = params;
  const before = await desk.registry.get(keys.device(customer, device));
  if (before !== undefined) await leavesRoom(desk, { role: 'device', customer, site: before.site, group: before.group, device }, `group/${before.group}`);
  return move(desk, call, { customer, device, site, group });
});

async function move(desk: Desk, call: Call, to: { customer: string; device: string; site: string; group: string }): Promise<{ sequence: number }> {
  const until = lastMoment(desk, undefined);
  const from = (read: Read): { from?: { site: string; group: string; until: string } } => {
    const row = read(keys.device(to.customer, to.device));
    const stays = row === undefined || (row.site === to.site && row.group === to.group);
    return stays ? {} : { from: { site: row.site, group: row.group, until } };
  };
  const { entry } = await desk.registry.transact(call.actor, (read) => ({ result: undefined, change: { type: 'device-moved', ...to, ...from(read) } }));
  return { sequence: entry?.sequence ?? 0 };
}

export const revocationList = action(OPS_ACTIONS['revocation.list'], async (desk, { customer, site }) => {
  const rows: RevokedRow[] = await collect(desk.registry.list(revokedKeys.within(customer, site)));
  return rows.map((row) => ({ ...row, travels: inBundles(row) && stillNames(row, desk.clock.now()) }));
});

/** Operators come to the provider's door alone, which asks the registry. */
function inBundles({ identity }: RevokedRow): boolean {
  return parseIdentityPath(identity)?.role !== 'ops';
}

/** @throws USAGE */
function lastMoment({ clock }: Desk, until: string | undefined): string {
  const now = clock.now();
  const wanted = until === undefined ? now : Date.parse(until);
  if (wanted - now > MAX_LEAF_DAYS * 86_400_000) {
    throw new WardcastError('USAGE', `${until} lies more than ${MAX_LEAF_DAYS} days ahead`, { remedy: 'No certificate issued until now lives that long.' });
  }
  return isoSeconds(wanted);
}

/** @throws LIMIT_EXCEEDED when the signed list has no room for one more */
async function leavesRoom({ registry, clock }: Desk, identity: DeviceIdentity | GatewayIdentity, below: string): Promise<void> {
  const path = identityPath(identity);
  let others = 0;
  for await (const row of registry.list(revokedKeys.within(identity.customer, identity.site, below))) {
    if (row.identity !== path && stillNames(row, clock.now())) others++;
  }
  // Half for the group's devices, half for the site's gateways.
  if (others < MAX_BUNDLE_REVOKED / 2) return;
  throw new WardcastError('LIMIT_EXCEEDED', `${others} certificates are revoked there already, and a signed list takes no more`, {
    remedy: 'Give the group a new CA instead: `wardcast pki rekey-group`, then `wardcast group retire-ca`, which is one line in the list.',
  });
}
