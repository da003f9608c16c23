import { leafSubject } from '../../certs/issue.ts';
import { WardcastError } from '../../shared/base/errors.ts';
import { type GatewayIdentity, type Identity, identityPath, type ProviderIdentity, parseSpiffeId } from '../../shared/base/identity.ts';
import { brokerRights } from '../../shared/wire/rights.ts';
import type { PkiRow } from '../pki-list.ts';
import { mosquittoUser, type UserRights } from './mosquitto.ts';
import { type Known, type LeftOut, outBecause, registeredDevices } from './standing.ts';

/** Whose broker: the provider's, or that of a site's gateway; by name where there are several. */
export type Seat = { readonly name?: string } & (
  | { readonly role: 'provider' }
  | { readonly role: 'gateway'; readonly customer: string; readonly site: string }
);

export interface Holders {
  readonly rights: readonly UserRights[];
  readonly leftOut: readonly LeftOut[];
}

/**
 * What the holders of all certificates in force may do at a broker.
 * @param known what the provider says of them; without it everybody whom the PKI folder names is in
 * @throws NOT_FOUND without its owner, CONFLICT when several could be it
 */
export function rightsOfHolders(
  rows: readonly PkiRow[],
  seat: Seat,
  within: { readonly customer?: string; readonly site?: string },
  now: number,
  known?: Known,
): Holders {
  const users = new Map<string, string>();
  const named: Identity[] = [];
  for (const row of rows) {
    if (row.kind !== 'issued' || Date.parse(row.expires) <= now || users.has(row.name)) continue;
    users.set(row.name, row.subject);
    named.push(parseSpiffeId(`spiffe://any/${row.name}`).identity);
  }
  for (const identity of known === undefined ? [] : registeredDevices(known)) {
    if (users.has(identityPath(identity))) continue;
    users.set(identityPath(identity), subjectOf(identity));
    named.push(identity);
  }
  const identities = named.filter((identity) => !('site' in identity) || belongs(identity, within));
  const why = new Map(known === undefined ? [] : identities.map((identity) => [identity, outBecause(identity, known)]));
  const good = identities.filter((identity) => why.get(identity) === undefined);
  const rights = brokerRights(ownerOf(good, seat), good);
  return {
    // Only of those who may enter: the subject of a claim is none that mosquitto must know.
    rights: rights.map((row) => ({ ...row, user: mosquittoUser(users.get(identityPath(row.identity)) ?? '') })),
    leftOut: identities
      .flatMap((identity) => {
        const reason = why.get(identity);
        return reason === undefined ? [] : [{ identity: identityPath(identity), why: reason }];
      })
      .sort((a, b) => (a.identity < b.identity ? -1 : 1)),
  };
}

/** As node:crypto prints what `certs` writes. */
function subjectOf(identity: Identity): string {
  return leafSubject(identity)
    .map(({ shortName, value }) => `${shortName}=${value}`)
    .join('\n');
}

function ownerOf(identities: readonly Identity[], seat: Seat): ProviderIdentity | GatewayIdentity {
  const named = (name: string): boolean => seat.name === undefined || seat.name === name;
  const found = identities.flatMap((identity): (ProviderIdentity | GatewayIdentity)[] => {
    if (identity.role === 'provider') return seat.role === 'provider' && named(identity.name) ? [identity] : [];
    if (identity.role !== 'gateway' || seat.role !== 'gateway') return [];
    return belongs(identity, seat) && named(identity.gateway) ? [identity] : [];
  });
  const [owner, ...others] = found;
  const what = seat.role === 'provider' ? 'a provider' : `a gateway of ${seat.customer}/${seat.site}`;
  if (owner === undefined)
    throw new WardcastError('NOT_FOUND', `No certificate of ${what} is in force`, { remedy: '`wardcast pki list` shows what was issued.' });
  if (others.length === 0) return owner;
  throw new WardcastError('CONFLICT', `${found.length} certificates of ${what} are in force: ${found.map(identityPath).join(', ')}`, {
    remedy: 'Say which with --owner NAME.',
  });
}

function belongs(identity: { readonly customer: string; readonly site: string }, within: { readonly customer?: string; readonly site?: string }): boolean {
  return (within.customer === undefined || identity.customer === within.customer) && (within.site === undefined || identity.site === within.site);
}
