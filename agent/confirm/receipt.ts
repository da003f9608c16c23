import type { Moment } from '../../shared/base/clock.ts';
import { WardcastError } from '../../shared/base/errors.ts';
import type { DeviceIdentity } from '../../shared/base/identity.ts';
import { type Opened, openReceipts } from '../../shared/net/receipts.ts';
import type { Receipt, ReceiptProof } from '../../shared/wire/messages.ts';

/** The provider's word about one statement of this device, and the head of the log that proves it. */
export interface OwnReceipt extends Pick<Opened, 'head' | 'signed'> {
  readonly receipt: Receipt;
  readonly proof: ReceiptProof;
}

/**
 * Reads the provider's signed word about a statement of `device`.
 * @throws SIGNATURE_INVALID, STATEMENT_INVALID when it is malformed, for another device, or signed by somebody who is no provider; CERT_*
 */
export function openReceipt(payload: Buffer, device: DeviceIdentity, rootPem: string, moment: Moment): OwnReceipt {
  const { head, signed, receipts } = openReceipts(payload, rootPem, moment);
  const [one, ...more] = receipts;
  if (one === undefined || more.length > 0) throw new WardcastError('STATEMENT_INVALID', `${receipts.length} receipts came where one was expected`);
  const { customer, site, group, device: name } = one.receipt;
  if (customer !== device.customer || site !== device.site || group !== device.group || name !== device.device) {
    throw new WardcastError('STATEMENT_INVALID', `The receipt is for ${customer}/${site}/${group}/${name}, another device`);
  }
  return { head, signed, ...one };
}
