import { type GatewayIdentity, type Identity, identityPath, type ProviderIdentity, type Scope, scopePath } from '../base/identity.ts';
import { mayEnter, mayFetchScope, readable, writable } from './policy.ts';

/** What one identity may do at one broker, and which groups' bundles it may have. */
export interface Rights {
  readonly identity: Identity;
  /** The broker is its own: it hears what the clients may say, and says what they may hear. */
  readonly owner: boolean;
  /** Topic filters. */
  readonly publish: readonly string[];
  readonly subscribe: readonly string[];
  /** `customer/site/group` of every bundle, with its manifests and chunks. */
  readonly bundles: readonly string[];
}

/** The policy, written out as a table for the broker of `owner`: one row per identity that has business there, the owner first. Pure. */
export function brokerRights(owner: ProviderIdentity | GatewayIdentity, identities: readonly Identity[]): readonly Rights[] {
  const clients = identities.filter((identity) => mayEnter(owner, identity)).sort((a, b) => (identityPath(a) < identityPath(b) ? -1 : 1));
  const scopes = scopesOf(identities);
  const row = (identity: Identity, publish: readonly string[], subscribe: readonly string[]): Rights => ({
    identity,
    owner: identity === owner,
    publish: [...new Set(publish)],
    subscribe: [...new Set(subscribe)],
    bundles: scopes.filter((scope) => mayFetchScope(identity, scope)).map(scopePath),
  });
  return [row(owner, clients.flatMap(readable), clients.flatMap(writable)), ...clients.map((client) => row(client, writable(client), readable(client)))];
}

/** Every group at a site of which a device is known. */
function scopesOf(identities: readonly Identity[]): readonly Scope[] {
  const scopes = new Map(identities.flatMap((identity) => (identity.role === 'device' ? [[scopePath(identity), identity] as const] : [])));
  return [...scopes.values()].sort((a, b) => (scopePath(a) < scopePath(b) ? -1 : 1));
}
