import { createHash, type KeyObject } from 'node:crypto';

/** sha256 of a public key (SPKI, DER), in hex: by what the registry knows a key, whatever certificate it is in. */
export function keyDigest(publicKey: KeyObject): string {
  return createHash('sha256')
    .update(publicKey.export({ type: 'spki', format: 'der' }))
    .digest('hex');
}
