import { z } from 'zod';
import { toWardcastError, WardcastError } from '../../shared/base/errors.ts';
import { openReceipts } from '../../shared/net/receipts.ts';
import { Receipts, Signed, TreeHead } from '../../shared/wire/messages.ts';

/** What somebody kept of the log: a head that the provider signed, and entries that it proved to be below it. */
export interface Witness {
  /** Where it came from: a file's name. */
  readonly name: string;
  readonly size: number;
  /** Hex. */
  readonly root: string;
  /** The provider's time when it signed. */
  readonly at: string;
  readonly entries: readonly { readonly sequence: number; readonly hash: string }[];
}

const Kept = z.union([Receipts, Signed]);

/**
 * Reads a receipts message, or a signed head alone, as JSON. The signer's certificates are judged as of the time that the head states.
 * @throws STATEMENT_INVALID, SIGNATURE_INVALID, CERT_*: nothing proves that a provider said it
 */
export function readWitness(name: string, bytes: Buffer, rootPem: string): Witness {
  const kept = Kept.safeParse(json(bytes, name));
  if (!kept.success) throw new WardcastError('STATEMENT_INVALID', `${name} holds neither receipts nor a signed head`, { cause: kept.error });
  const message: Receipts = 'head' in kept.data ? kept.data : { head: kept.data, receipts: [] };
  const stated = TreeHead.safeParse(json(Buffer.from(message.head.payload, 'base64'), name));
  if (!stated.success) throw new WardcastError('STATEMENT_INVALID', `${name} holds something signed that is no head of a log`, { cause: stated.error });
  const { head, receipts } = openReceipts(Buffer.from(JSON.stringify(message), 'utf8'), rootPem, { now: Date.parse(stated.data.at) });
  const entries = receipts.flatMap(({ receipt }) => (receipt.entry === undefined ? [] : [receipt.entry]));
  return { name, size: head.size, root: head.root, at: head.at, entries };
}

function json(bytes: Buffer, name: string): unknown {
  try {
    return JSON.parse(bytes.toString('utf8'));
  } catch (error) {
    throw toWardcastError(error, 'STATEMENT_INVALID', `${name} is no JSON`);
  }
}
