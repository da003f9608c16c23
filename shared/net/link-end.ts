import type { TLSSocket } from 'node:tls';
import type { Credentials } from '../../certs/credentials.ts';
import { verifyChain } from '../../certs/identity.ts';
import { clientSideTlsError } from '../../certs/tls-errors.ts';
import type { Moment } from '../base/clock.ts';
import { type ErrorCode, isWardcastError, systemCode, WardcastError } from '../base/errors.ts';
import { CONNACK, PacketGuard } from './packet-guard.ts';
import { readNotice } from './refusal-notice.ts';

/** Return codes of CONNACK (MQTT 3.1.1, table 3.1). */
const CONNACK_CODES: ReadonlyMap<number, ErrorCode> = new Map([
  [1, 'PROTOCOL_VIOLATION'],
  [2, 'DENIED'],
  [3, 'BUSY'],
  [4, 'DENIED'],
  [5, 'DENIED'],
]);

/** Listens along while mqtt.js reads a socket: guards against endless packets and gathers what may explain the end. */
export class StreamWatch {
  connected = false;
  told: WardcastError | undefined;
  violation: string | undefined;
  error: Error | undefined;

  constructor(socket: TLSSocket) {
    const guard = new PacketGuard({ first: CONNACK });
    socket.on('data', (bytes: Buffer) => {
      if (guard.packets === 0) this.told = readNotice(bytes);
      this.violation = guard.push(bytes);
      if (this.violation !== undefined) socket.destroy();
    });
    socket.on('error', (error) => this.note(error));
  }

  /** The first error is the cause, later ones follow from it. */
  note(error: Error): void {
    this.error ??= error;
  }
}

/** Why a connection ended, as the code a person can act on. */
export function endReason(watch: StreamWatch, o: Moment & { readonly address: string; readonly credentials: Credentials }): WardcastError {
  const { address } = o;
  const { told, violation, error } = watch;
  if (told !== undefined) {
    const remedy = told.remedy ?? 'The log of that daemon says more (event door.refused).';
    return new WardcastError(told.code, `${address} refused us: ${told.message}`, { remedy });
  }
  if (violation !== undefined) {
    return new WardcastError('PROTOCOL_VIOLATION', `${address} broke the protocol: ${violation}`, { remedy: 'Check that this is an MQTT 3.1.1 broker.' });
  }
  if (watch.connected) {
    return new WardcastError('CONNECTION_LOST', `The connection to ${address} broke${error === undefined ? '' : `: ${error.message}`}`, { cause: error });
  }
  const code = error !== undefined && 'code' in error && typeof error.code === 'number' ? CONNACK_CODES.get(error.code) : undefined;
  if (code !== undefined) {
    return new WardcastError(code, `${address} refused the connection: ${error?.message}`, { remedy: 'The log of that broker says why.', cause: error });
  }
  if (error !== undefined && systemCode(error)?.startsWith('ERR_SSL') === true) return clientSideTlsError(error);
  return wordless(o);
}

/** Who is refused without a word looks at its own certificate first. Doors of Wardcast say why, other brokers may not. */
function wordless({ address, credentials, ...moment }: Moment & { readonly address: string; readonly credentials: Credentials }): WardcastError {
  try {
    verifyChain(credentials.chain, credentials.rootPem, { ...moment, usage: 'client' });
  } catch (error) {
    if (isWardcastError(error)) return error;
  }
  return new WardcastError('CERT_REFUSED_BY_PEER', `${address} closed the connection before it said anything`, {
    remedy: 'Brokers do so when they refuse a certificate: the log of that daemon says why.',
  });
}
