import { z } from 'zod';
import { type ErrorCode, WardcastError } from '../../shared/base/errors.ts';
import { type Identity, identityPath, sameScope } from '../../shared/base/identity.ts';
import { MAX_CONTROL_MESSAGE } from '../../shared/base/limits.ts';
import { Signed, Statement } from '../../shared/wire/messages.ts';
import type { DeviceRow, HistoryRow, Standing } from '../registry/rows.ts';

/** What to do with a statement whose signature holds. Nothing here does any of it. */
export type Verdict =
  /** New: log it. */
  | { readonly outcome: 'record' }
  /** It is on the log already, there: send the receipt again. */
  | { readonly outcome: 'again'; readonly sequence: number }
  /** The device lost its memory and counts behind: have it count on from `highest`. */
  | { readonly outcome: 'behind'; readonly highest: number }
  | { readonly outcome: 'refused'; readonly code: ErrorCode; readonly message: string; readonly highest: number };

/** What is known of the device that a statement names. */
export interface Known {
  readonly device: DeviceRow | undefined;
  readonly standing: Standing | undefined;
  /** The statement recorded under the same counter. */
  readonly same: HistoryRow | undefined;
  /** Why the certificate it is signed with is refused. */
  readonly revoked?: string | undefined;
}

/** As `Signed`, but for the base64: whoever opens it takes that in its one canonical form alone, and remembers the chains that it took. */
const Envelope = Signed.extend({ payload: z.string().max(200_000), signature: z.string().max(2000), chain: z.array(z.string().max(8000)).min(1).max(4) });

/** @throws STATEMENT_INVALID */
export function readEnvelope(bytes: Buffer): Signed {
  return readJson(bytes, Envelope, 'envelope');
}

/** @throws STATEMENT_INVALID */
export function readStatement(payload: Buffer): Statement {
  return readJson(payload, Statement, 'statement');
}

/** A device speaks for itself alone, and only from where its certificate puts it. @throws STATEMENT_FORGED */
export function checkSigner(signer: Identity, statement: Statement): void {
  const { customer, site, group, device } = statement;
  if (signer.role === 'device' && sameScope(signer, statement) && signer.device === device) return;
  throw new WardcastError('STATEMENT_FORGED', `A statement of device ${customer}/${device} (${site}/${group}) is signed by ${identityPath(signer)}`, {
    remedy: 'Find out who holds that key: either a device was given the certificate of another, or somebody is forging.',
    context: { customer, site, group, device, signer: identityPath(signer) },
  });
}

/** The counter rules. `digest`: sha256 of the statement's payload bytes. */
export function judge(statement: Statement, digest: string, { device, standing, same, revoked }: Known): Verdict {
  const highest = standing?.counter ?? 0;
  // On the log is on the log, wherever the device belongs by now: without the receipt it would repeat itself for ever.
  if (same !== undefined && same.digest === digest) return { outcome: 'again', sequence: same.sequence };
  // Whether it was signed before the theft nobody can tell: the device's own clock and key are in other hands.
  if (revoked !== undefined) return refused('CERT_REVOKED', revoked, highest);
  if (device === undefined) {
    return refused('NOT_FOUND', `Device ${statement.customer}/${statement.device} is not registered`, highest);
  }
  if (!sameScope(device, statement)) {
    return refused('DENIED', `Device ${device.device} is registered at ${device.site}/${device.group}, not at ${statement.site}/${statement.group}`, highest);
  }
  if (same === undefined) return { outcome: 'record' };
  // An inventory says what is true now, so that a restored device can simply say it again with a fresh counter. What a confirmation tells happened once.
  if (statement.type === 'inventory') return { outcome: 'behind', highest };
  return refused('COUNTER_CONFLICT', `Device ${device.device} already made a different statement with counter ${statement.counter}`, highest);
}

function refused(code: ErrorCode, message: string, highest: number): Verdict {
  return { outcome: 'refused', code, message, highest };
}

function readJson<T>(bytes: Buffer, schema: { safeParse(value: unknown): { success: true; data: T } | { success: false; error: Error } }, what: string): T {
  if (bytes.length > MAX_CONTROL_MESSAGE) throw invalid(what, `it has ${bytes.length} bytes, more than ${MAX_CONTROL_MESSAGE}`);
  let value: unknown;
  try {
    value = JSON.parse(bytes.toString('utf8'));
  } catch (error) {
    throw invalid(what, 'it is no JSON', error);
  }
  const parsed = schema.safeParse(value);
  if (!parsed.success) throw invalid(what, 'it has not the form of docs/protocol.md', parsed.error);
  return parsed.data;
}

function invalid(what: string, why: string, cause?: unknown): WardcastError {
  return new WardcastError('STATEMENT_INVALID', `The ${what} cannot be used: ${why}`, {
    remedy: 'Bring the agent and the provider to versions that belong together.',
    ...(cause === undefined ? {} : { cause }),
  });
}
