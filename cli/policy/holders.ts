import { WardcastError } from '../../shared/base/errors.ts';
import { type GatewayIdentity, type Identity, identityPath, type ProviderIdentity, parseSpiffeId } from '../../shared/base/identity.ts';
import { brokerRights } from '../../shared/wire/rights.ts';
import type { PkiRow } from '../pki-list.ts';
import { mosquittoUser, type UserRights } from './mosquitto.ts';

/** Whose broker: the provider's, or that of a site's gateway; by name where there are several. */
export type Seat = { readonly name?: string } & (
  | { readonly role: 'provider' }
  | { readonly role: 'gateway'; readonly customer: string; readonly site: string }
);

/** What the holders of all certificates in force may do at a broker. @throws NOT_FOUND without its owner, CONFLICT when several could be it */
export function rightsOfHolders(
  rows: readonly PkiRow[],
  seat: Seat,
  within: { readonly customer?: string; readonly site?: string },
  now: number,
): UserRights[] {
  const subjects = new Map<string, string>();
  const identities: Identity[] = [];
  for (const row of rows) {
    if (row.kind !== 'issued' || Date.parse(row.expires) <= now || subjects.has(row.name)) continue;
    subjects.set(row.name, row.subject);
    identities.push(parseSpiffeId(`spiffe://any/${row.name}`).identity);
  }
  const owner = ownerOf(identities, seat);
  const known = identities.filter((identity) => !('site' in identity) || belongs(identity, within));
  // Only of those who may enter: the subject of a claim is none that mosquitto must know.
  return brokerRights(owner, known).map((rights) => ({ ...rights, user: mosquittoUser(subjects.get(identityPath(rights.identity)) ?? '') }));
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
