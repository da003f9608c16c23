import { open } from '../../certs/envelope.ts';
import type { Moment } from '../base/clock.ts';
import { toWardcastError, WardcastError } from '../base/errors.ts';
import { isIncluded, leafHash, readPath } from '../bundle/merkle.ts';
import { Receipt, type ReceiptProof, Receipts, type Signed, TreeHead } from '../wire/messages.ts';

/** What the provider said about some statements, proven to be its word. */
export interface Opened {
  readonly head: TreeHead;
  /** The head as it was signed. */
  readonly signed: Signed;
  readonly since: Receipts['since'];
  readonly receipts: readonly { readonly receipt: Receipt; readonly proof: ReceiptProof }[];
}

/**
 * Reads receipts as they come from the wire: the provider signed the head, the head covers every receipt, and the log that ends there has every entry
 * that a receipt names.
 * @throws STATEMENT_INVALID when it is malformed or signed by somebody who is no provider; SIGNATURE_INVALID when a path does not prove what it should; CERT_*
 */
export function openReceipts(bytes: Buffer, rootPem: string, moment: Moment): Opened {
  const message = Receipts.safeParse(json(bytes));
  if (!message.success) throw new WardcastError('STATEMENT_INVALID', 'The receipts are malformed', { cause: message.error });
  const { head: signed, since, receipts } = message.data;
  const head = openHead(signed, rootPem, moment);
  return { head, signed, since, receipts: receipts.map((proof) => ({ receipt: proven(proof, head), proof })) };
}

function openHead(signed: Signed, rootPem: string, moment: Moment): TreeHead {
  const { identity, payload } = open(signed, rootPem, moment);
  if (identity.role !== 'provider') throw new WardcastError('STATEMENT_INVALID', `The receipt is signed by a ${identity.role}, not by a provider`);
  const head = TreeHead.safeParse(json(payload));
  if (!head.success) throw new WardcastError('STATEMENT_INVALID', 'The head of the log is malformed', { cause: head.error });
  return head.data;
}

function proven({ receipt: text, index, of, path, inclusion }: ReceiptProof, head: TreeHead): Receipt {
  const bytes = Buffer.from(text, 'base64');
  const steps = readPath(path);
  if (steps === undefined || !isIncluded(leafHash(bytes), { index, size: of, path: steps }, Buffer.from(head.receipts, 'hex'))) {
    throw new WardcastError('SIGNATURE_INVALID', 'The receipt is not one of those that the provider signed');
  }
  const receipt = Receipt.safeParse(json(bytes));
  if (!receipt.success) throw new WardcastError('STATEMENT_INVALID', 'The receipt is malformed', { cause: receipt.error });
  const { entry, outcome } = receipt.data;
  if (entry === undefined) {
    if (outcome !== 'recorded') return receipt.data;
    throw new WardcastError('STATEMENT_INVALID', 'The receipt says that the statement is recorded, and does not say where');
  }
  const place = inclusion === undefined ? undefined : readPath(inclusion);
  const leaf = leafHash(Buffer.from(entry.hash, 'hex'));
  if (place === undefined || !isIncluded(leaf, { index: entry.sequence - 1, size: head.size, path: place }, Buffer.from(head.root, 'hex'))) {
    throw new WardcastError('SIGNATURE_INVALID', `The receipt names entry ${entry.sequence}, and nothing proves that it is on the provider's log`);
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
