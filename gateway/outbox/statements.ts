import { open } from '../../certs/envelope.ts';
import type { Moment } from '../../shared/base/clock.ts';
import { isWardcastError, WardcastError } from '../../shared/base/errors.ts';
import { type DeviceIdentity, identityPath } from '../../shared/base/identity.ts';
import { MAX_CONTROL_MESSAGE } from '../../shared/base/limits.ts';
import { sha256 } from '../../shared/bundle/digest.ts';
import { Signed, Statement } from '../../shared/wire/messages.ts';

/**
 * The outbox key of a statement: what the provider's receipt names. A device only ever speaks for itself, and with its own signature: for what the
 * provider can only refuse no receipt would come, and it would stay in the outbox for ever.
 * @throws STATEMENT_INVALID, STATEMENT_FORGED, SIGNATURE_INVALID, CERT_*
 */
export function statementKey(bytes: Buffer, from: DeviceIdentity, o: Moment & { readonly rootPem: string }): string {
  if (bytes.length > MAX_CONTROL_MESSAGE)
    throw new WardcastError('STATEMENT_INVALID', `A statement has ${bytes.length} bytes, at most ${MAX_CONTROL_MESSAGE} are allowed`);
  const { envelope, payload, statement } = parse(bytes);
  if (statement.customer !== from.customer || statement.site !== from.site || statement.group !== from.group || statement.device !== from.device) {
    throw new WardcastError('STATEMENT_FORGED', `${from.device} brought a statement of ${statement.device}`, {
      context: { device: from.device, named: statement.device },
    });
  }
  const { identity } = open(envelope, o.rootPem, o);
  if (identityPath(identity) !== identityPath(from)) {
    throw new WardcastError('STATEMENT_FORGED', `${from.device} brought a statement that is signed by ${identityPath(identity)}`);
  }
  return keyOf({ ...statement, digest: sha256(payload) });
}

/** The key under which the statement waits that a receipt speaks of. */
export function keyOf(statement: { readonly group: string; readonly device: string; readonly counter: number; readonly digest: string }): string {
  return [statement.group, statement.device, statement.counter, statement.digest].join('/');
}

/** The device that a key speaks of. */
export function ownerOf(key: string): string {
  return key.split('/', 2).join('/');
}

/** Whether a stored statement proves nothing any more, most likely because its certificate has expired: the provider would refuse it for ever. */
export function outdated(stored: Buffer, o: Moment & { readonly rootPem: string }): boolean {
  try {
    open(parse(stored).envelope, o.rootPem, o);
    return false;
  } catch (error) {
    if (!isWardcastError(error)) throw error;
    return true;
  }
}

function parse(bytes: Buffer): { envelope: Signed; payload: Buffer; statement: Statement } {
  try {
    const envelope = Signed.parse(JSON.parse(bytes.toString('utf8')));
    const payload = Buffer.from(envelope.payload, 'base64');
    return { envelope, payload, statement: Statement.parse(JSON.parse(payload.toString('utf8'))) };
  } catch (error) {
    throw new WardcastError('STATEMENT_INVALID', 'A statement is malformed', {
      cause: error,
      remedy: 'The device agent and the gateway are of versions that do not understand each other: update the older one.',
    });
  }
}
