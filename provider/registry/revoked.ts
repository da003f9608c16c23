import { WardcastError } from '../../shared/base/errors.ts';
import { type DeviceIdentity, type GatewayIdentity, type Identity, identityPath, type OpsIdentity } from '../../shared/base/identity.ts';
import { MAX_LEAF_DAYS } from '../../shared/base/limits.ts';
import type { Revoked } from '../../shared/bundle/bundle.ts';
import { isoSeconds, type RevocationList } from '../../shared/wire/revocation.ts';
import type { ChangeOf } from './changes.ts';
import { type Key, keys } from './rows.ts';

/** Whose certificates are revoked, and since when and why; kept for audit when nothing is left that it could name. */
export interface RevokedRow extends Revoked {
  readonly reason: string;
  /** When the order came. */
  readonly at: string;
}
/** From which of a group's CAs on certificates are good. */
export interface OldestCaRow {
  readonly customer: string;
  readonly group: string;
  readonly generation: number;
  readonly reason: string;
  readonly at: string;
}

type ReadRow = <T>(key: Key<T>) => T | undefined;
interface Put {
  readonly key: string;
  readonly value: unknown;
}

export const revokedKeys = {
  identity: (identity: Identity): Key<RevokedRow> => ({ text: `revoked/${identityPath(identity)}` }),
  /** All of a customer's, of a site's devices and gateways, or of one group there. */
  within: (customer?: string, site?: string, below?: string): Key<RevokedRow> => ({
    text: `revoked/${customer === undefined ? '' : `customer/${customer}/${site === undefined ? '' : `site/${site}/${below === undefined ? '' : `${below}/`}`}`}`,
  }),
  oldestCa: (customer: string, group: string): Key<OldestCaRow> => ({ text: `oldest-ca/${customer}/${group}` }),
  oldestCas: (customer?: string): Key<OldestCaRow> => ({ text: `oldest-ca/${customer === undefined ? '' : `${customer}/`}` }),
};

/** A later order never makes an earlier one weaker. */
export function revoke(
  identity: DeviceIdentity | GatewayIdentity | OpsIdentity,
  order: { readonly until: string; readonly reason: string; readonly at: string },
  read: ReadRow,
): Put {
  const key = revokedKeys.identity(identity);
  const before = read(key);
  const until = isoSeconds(Math.max(Date.parse(order.until), before === undefined ? 0 : Date.parse(before.until)));
  return { key: key.text, value: { identity: identityPath(identity), until, reason: order.reason, at: order.at } };
}

export function retireCa(change: ChangeOf<'ca-retired'>, at: string, read: ReadRow): Put {
  const { customer, group, oldest, reason } = change;
  const key = revokedKeys.oldestCa(customer, group);
  const before = read(key)?.generation ?? 1;
  if (oldest <= before) {
    throw new WardcastError('CONFLICT', `The oldest CA accepted for group ${customer}/${group} is ${before} already`, {
      remedy: 'Name the generation of the new CA: `wardcast pki list` shows it.',
    });
  }
  return { key: key.text, value: { customer, group, generation: oldest, reason, at } };
}

/** Can a certificate that it names still be valid? What cannot need not travel any more. */
export function stillNames({ until }: Revoked, now: number): boolean {
  return Date.parse(until) + MAX_LEAF_DAYS * 86_400_000 > now;
}

/** What the rows say about one signer or peer, in the form that the one decision (shared/wire/revocation.ts) reads. */
export function listAbout(identity: Identity, read: ReadRow, retired: (customer: string) => boolean): RevocationList {
  const row = read(revokedKeys.identity(identity));
  const oldest = 'group' in identity ? read(revokedKeys.oldestCa(identity.customer, identity.group)) : undefined;
  const left = 'customer' in identity && retired(identity.customer) ? [identity.customer] : [];
  return { revoked: row === undefined ? [] : [row], oldestCas: oldest === undefined ? [] : [oldest], retired: left };
}

/** The same, asked of the registry as it is now. */
export async function revocationsAbout(
  registry: { get<T>(key: Key<T>): Promise<T | undefined> },
  { customer, site, group, device }: DeviceIdentity,
): Promise<RevocationList> {
  const row = await registry.get(revokedKeys.identity({ role: 'device', customer, site, group, device }));
  const oldest = await registry.get(revokedKeys.oldestCa(customer, group));
  const retired = (await registry.get(keys.customer(customer)))?.retired !== undefined;
  return { revoked: row === undefined ? [] : [row], oldestCas: oldest === undefined ? [] : [oldest], retired: retired ? [customer] : [] };
}
