import { type Certified, type DeviceIdentity, type Scope, sameScope, scopePath } from '../../shared/base/identity.ts';
import { indexRevocations, type RevocationList, revokedBecause } from '../../shared/wire/revocation.ts';

/** What decides whether a device gets the keys of its group. */
export interface KeyFacts {
  /** As its certificate says, which is verified. */
  readonly device: DeviceIdentity;
  readonly certified: Omit<Certified, 'identity'>;
  /** Where the registry has it; undefined: nowhere. */
  readonly registered: Scope | undefined;
  readonly revoked: RevocationList;
}

/**
 * Why a device gets no key of the group that its certificate names; undefined: it gets them. Unlike the doors this asks the registry, too: a certificate
 * alone opens no content. Pure; the key desk asks it, and `wardcast explain`.
 */
export function keyRefusal({ device, certified, registered, revoked }: KeyFacts): string | undefined {
  const because = revokedBecause(indexRevocations([revoked]), { identity: device, ...certified });
  if (because !== undefined) return because;
  if (registered === undefined) return 'it is not registered';
  return sameScope(registered, device) ? undefined : `it is registered at ${scopePath(registered)}`;
}
