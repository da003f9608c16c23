import { z } from 'zod';
import { type DeviceIdentity, type Identity, identityPath, sameScope } from '../../shared/base/identity.ts';
import { CustomerListed, Device, OPS_ACTIONS } from '../../shared/wire/ops.ts';

/** What the provider knows of the holders of certificates, and a folder of the PKI does not. */
export const Known = z.strictObject({
  format: z.literal(1),
  devices: z.array(Device),
  revoked: OPS_ACTIONS['revocation.list'].result,
  customers: z.array(CustomerListed),
});
export type Known = z.output<typeof Known>;

/** Somebody who holds a certificate and is not in the list. */
export interface LeftOut {
  readonly identity: string;
  readonly why: string;
}

/**
 * Why a holder has no place in a list that knows people by name; undefined: it has. Pure. A revocation leaves certificates issued after it good, but a broker
 * that goes by names cannot tell them from the revoked ones: the name stays out until the last of those has expired.
 */
export function outBecause(identity: Identity, { devices, revoked, customers }: Known): string | undefined {
  if (!('customer' in identity)) return undefined;
  if (customers.some((row) => row.customer === identity.customer && row.retired !== undefined)) return `customer ${identity.customer} is retired`;
  const path = identityPath(identity);
  const order = revoked.find((row) => row.identity === path && row.travels);
  const registered = identity.role === 'device' ? devices.find((row) => row.customer === identity.customer && row.device === identity.device) : undefined;
  if (identity.role === 'device' && registered === undefined) return 'it is not registered';
  if (identity.role === 'device' && registered !== undefined && !sameScope(registered, identity)) return `it moved to ${registered.site}/${registered.group}`;
  return order === undefined ? undefined : `certificates issued up to ${order.until} are revoked, and a name does not tell them from later ones`;
}

/** Devices that enrolled at the provider: no PKI folder lists their certificates. */
export function registeredDevices({ devices }: Known): DeviceIdentity[] {
  return devices.map(({ customer, site, group, device }) => ({ role: 'device', customer, site, group, device }));
}
