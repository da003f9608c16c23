import { type DeviceIdentity, type Scope, sameScope } from '../../shared/base/identity.ts';
import type { DecisionRow, DeviceRow, LeafRow, Standing, TokenRow } from '../registry/rows.ts';

/** What to do with a request whose proof holds. Nothing here does any of it. */
export type Verdict =
  | { readonly outcome: 'certify' }
  | { readonly outcome: 'pending' }
  /** Somebody else has that name: an alarm. */
  | { readonly outcome: 'duplicate'; readonly message: string }
  /** Two hold one key: an alarm. */
  | { readonly outcome: 'clone'; readonly message: string }
  | { readonly outcome: 'refused'; readonly message: string };

/** What is known of the device that wants to enrol. */
export interface Known {
  readonly device: DeviceRow | undefined;
  readonly leaf: LeafRow | undefined;
  readonly standing: Standing | undefined;
  readonly decision: DecisionRow | undefined;
}

/** May whoever holds this code, or claim, take that name with this key? @param now milliseconds since 1970 */
export function judgeEnrolment(
  wanted: { readonly identity: DeviceIdentity; readonly key: string; readonly token?: TokenRow; readonly now: number },
  { device, leaf, standing, decision }: Known,
): Verdict {
  const { identity, key, token, now } = wanted;
  const name = `${identity.customer}/${identity.device}`;
  if (device !== undefined && !sameScope(device, identity)) {
    return { outcome: 'duplicate', message: `${name} is registered at ${device.site}/${device.group}, not at ${identity.site}/${identity.group}` };
  }
  // A device that has spoken has a key, also when that was certified offline.
  const taken = leaf === undefined ? device !== undefined && standing !== undefined : leaf.key !== null && leaf.key !== key;
  if (taken) return { outcome: 'duplicate', message: `${name} is enrolled already, with another key` };
  if (decision?.approved === false) return { outcome: 'refused', message: `${name} was rejected by hand` };
  const again = leaf?.key === key;
  if (token !== undefined && !again) {
    if (token.revoked) return { outcome: 'refused', message: `Token ${token.token} was revoked` };
    // Approved by hand is approved, however long that took.
    const approved = decision !== undefined && sameScope(decision, identity);
    if (!approved && now > Date.parse(token.expires)) return { outcome: 'refused', message: `Token ${token.token} expired at ${token.expires}` };
    if (!approved && token.used >= token.count) return { outcome: 'refused', message: `Token ${token.token} is used up (${token.count})` };
    if (token.devices.length > 0 && !token.devices.includes(identity.device)) {
      return { outcome: 'refused', message: `Token ${token.token} is not for device ${identity.device}` };
    }
  }
  if (again || (decision !== undefined && sameScope(decision, identity))) return { outcome: 'certify' };
  // The allow-list of a claim is the registry: whoever ops have added, and nobody has been yet.
  const byHand = token === undefined ? device === undefined : token.byHand;
  return byHand ? { outcome: 'pending' } : { outcome: 'certify' };
}

/** What is known of whoever wants to renew. */
export interface Holder {
  /** Where the registry has the device; a gateway's site. Undefined: nowhere. */
  readonly registered: Scope | undefined;
  readonly leaf: LeafRow | undefined;
}

/** May whoever holds `old` have a certificate for `key`? */
export function judgeRenewal(
  wanted: { readonly name: string; readonly scope: Scope | undefined; readonly old: string; readonly key: string },
  { registered, leaf }: Holder,
): Verdict {
  const { name, scope, old, key } = wanted;
  if (registered === undefined) return { outcome: 'refused', message: `${name} is not registered` };
  if (scope !== undefined && !sameScope(scope, registered)) {
    return { outcome: 'refused', message: `${name} is registered at ${registered.site}/${registered.group}: it has to enrol there` };
  }
  if (leaf === undefined || leaf.key === old) return { outcome: 'certify' };
  if (leaf.key === null) return { outcome: 'refused', message: `The key of ${name} was released: it has to enrol anew` };
  // The first answer was lost: the key is on the device's disk before it asks, so the same device asks for the same key.
  if (leaf.previous === old && leaf.key === key) return { outcome: 'certify' };
  if (leaf.previous === old) return { outcome: 'clone', message: `${name} asks with a key that was replaced, for another than the one that replaced it` };
  return { outcome: 'refused', message: `${name} asks with a key that is not its own any more` };
}
