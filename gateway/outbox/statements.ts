import { WardcastError } from '../../shared/base/errors.ts';
import type { DeviceIdentity } from '../../shared/base/identity.ts';
import { MAX_CONTROL_MESSAGE } from '../../shared/base/limits.ts';
import { sha256 } from '../../shared/bundle/digest.ts';
import { Signed, Statement } from '../../shared/wire/messages.ts';

/**
 * The outbox key of a statement: what the provider's receipt names. Whether the signature is genuine is the provider's question, which may
 * know more (a chain that expired since the device signed); here a device only ever speaks for itself.
 * @throws STATEMENT_INVALID, STATEMENT_FORGED
 */
export function statementKey(bytes: Buffer, from: DeviceIdentity): string {
  if (bytes.length > MAX_CONTROL_MESSAGE)
    throw new WardcastError('STATEMENT_INVALID', `A statement has ${bytes.length} bytes, at most ${MAX_CONTROL_MESSAGE} are allowed`);
  const { payload, statement } = parse(bytes);
  if (statement.customer !== from.customer || statement.site !== from.site || statement.group !== from.group || statement.device !== from.device) {
    throw new WardcastError('STATEMENT_FORGED', `${from.device} brought a statement of ${statement.device}`, {
      context: { device: from.device, named: statement.device },
    });
  }
  return keyOf({ ...statement, digest: sha256(payload) });
}

/** The key under which the statement waits that a receipt speaks of. */
export function keyOf(statement: { readonly group: string; readonly device: string; readonly counter: number; readonly digest: string }): string {
  return [statement.group, statement.device, statement.counter, statement.digest].join('/');
}

function parse(bytes: Buffer): { payload: Buffer; statement: Statement } {
  try {
    const payload = Buffer.from(Signed.parse(JSON.parse(bytes.toString('utf8'))).payload, 'base64');
    return { payload, statement: Statement.parse(JSON.parse(payload.toString('utf8'))) };
  } catch (error) {
    throw new WardcastError('STATEMENT_INVALID', 'A statement is malformed', {
      cause: error,
      remedy: 'The device agent and the gateway are of versions that do not understand each other: update the older one.',
    });
  }
}
