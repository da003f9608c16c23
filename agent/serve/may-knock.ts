import type { DeviceIdentity, Identity } from '../../shared/base/identity.ts';
import { sameScope } from '../../shared/base/identity.ts';
import { isOwnGateway } from '../locate.ts';

/** Who may knock at a device's own door: devices of its group at its site, and the site's gateway. */
export function mayKnock(device: DeviceIdentity, identity: Identity): boolean {
  return isOwnGateway(device, identity) || (identity.role === 'device' && sameScope(device, identity));
}
