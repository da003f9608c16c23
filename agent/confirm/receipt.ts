import { open } from '../../certs/envelope.ts';
import type { Moment } from '../../shared/base/clock.ts';
import { toWardcastError, WardcastError } from '../../shared/base/errors.ts';
import type { DeviceIdentity } from '../../shared/base/identity.ts';
import { Receipt, Signed } from '../../shared/wire/messages.ts';

/**
 * Reads the provider's signed word about a statement of `device`.
 * @throws SIGNATURE_INVALID, STATEMENT_INVALID when it is malformed, for another device, or signed by somebody who is no provider; CERT_*
 */
export function openReceipt(payload: Buffer, device: DeviceIdentity, rootPem: string, moment: Moment): Receipt {
  const envelope = Signed.safeParse(json(payload));
  if (!envelope.success) throw new WardcastError('STATEMENT_INVALID', 'The receipt is no signed envelope', { cause: envelope.error });
  const { identity, payload: signed } = open(envelope.data, rootPem, moment);
  if (identity.role !== 'provider') throw new WardcastError('STATEMENT_INVALID', `The receipt is signed by a ${identity.role}, not by a provider`);
  const receipt = Receipt.safeParse(json(signed));
  if (!receipt.success) throw new WardcastError('STATEMENT_INVALID', 'The receipt is malformed', { cause: receipt.error });
  const { customer, site, group, device: name } = receipt.data;
  if (customer !== device.customer || site !== device.site || group !== device.group || name !== device.device) {
    throw new WardcastError('STATEMENT_INVALID', `The receipt is for ${customer}/${site}/${group}/${name}, another device`);
  }
  return receipt.data;
}

function json(bytes: Buffer): unknown {
  try {
    return JSON.parse(bytes.toString('utf8'));
  } catch (error) {
    throw toWardcastError(error, 'STATEMENT_INVALID', 'The receipt is no JSON');
  }
}
