import type { Aedes, AuthenticateError } from 'aedes';
import { WardcastError } from '../base/errors.ts';
import { MAX_KEEPALIVE, MAX_TOPIC } from '../base/limits.ts';
import type { BrokerSession, ConnectRefusal } from './broker-session.ts';

export type PublishPacket = Parameters<Aedes['authorizePublish']>[1];
export type ConnectPacket = Parameters<Aedes['preConnect']>[1];

/** Where publishes end that were consumed or refused: no policy lets a client read below $SYS. */
const CONSUMED = '$SYS/consumed';

/** Wills are refused: they would be published at a time when nobody is left to be told that they are not allowed. */
export function refuseConnect(session: BrokerSession, packet: ConnectPacket): ConnectRefusal | undefined {
  if (!isOwnClientId(session, packet.clientId)) {
    const message = `the client id must be the certificate's identity ${session.path}, not ${JSON.stringify(printable(packet.clientId).slice(0, 300))}`;
    return { returnCode: 2, error: new WardcastError('DENIED', message, { remedy: `Connect with client id ${session.path}.` }) };
  }
  if (packet.will) return { returnCode: 5, error: new WardcastError('DENIED', 'wills are not kept here', { remedy: 'Connect without a will.' }) };
  const keepalive = packet.keepalive ?? 0;
  if (keepalive === 0 || keepalive > MAX_KEEPALIVE) {
    const message = `a keep-alive of ${keepalive} s leaves dead connections open`;
    return { returnCode: 5, error: new WardcastError('LIMIT_EXCEEDED', message, { remedy: `Ask for 1 to ${MAX_KEEPALIVE} s.` }) };
  }
  return undefined;
}

/** People open several terminals with one ops certificate: theirs may add one level of their own. Daemons run once, so a second one takes over. */
function isOwnClientId(session: BrokerSession, clientId: string): boolean {
  if (clientId === session.path) return true;
  return session.identity.role === 'ops' && clientId.startsWith(`${session.path}/`) && /^[0-9a-f-]{1,36}$/.test(clientId.slice(session.path.length + 1));
}

/** Takes the message out of aedes' hands, except for the acknowledgement it owes. */
export function consume(packet: PublishPacket): void {
  packet.topic = CONSUMED;
  packet.payload = Buffer.alloc(0);
  packet.retain = false;
}

export function bytesOf(packet: PublishPacket): Buffer {
  return typeof packet.payload === 'string' ? Buffer.from(packet.payload) : packet.payload;
}

export function connackError(message: string, returnCode: 2 | 3 | 5): AuthenticateError {
  return Object.assign(new Error(message), { returnCode });
}

/** A stranger's words for a log: without control characters, cut. */
export function printable(text: string): string {
  return text.replace(/[\p{Cc}\p{Cf}\u2028\u2029]/gu, '\u00b7').slice(0, MAX_TOPIC);
}
