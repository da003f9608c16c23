import net, { type Socket } from 'node:net';
import tls, { type ConnectionOptions, type SecureContext, TLSSocket } from 'node:tls';
import type { Credentials } from '../../certs/credentials.ts';
import { certifiedPeer } from '../../certs/identity.ts';
import { clientSideTlsError } from '../../certs/tls-errors.ts';
import { type Clock, momentOf } from '../base/clock.ts';
import { toWardcastError, WardcastError } from '../base/errors.ts';
import { type Identity, identityPath } from '../base/identity.ts';
import { HANDSHAKE_TIMEOUT, REFUSAL_LINGER } from '../base/limits.ts';
import { ENROL_PROTOCOL } from '../wire/enrol.ts';
import { clientNotice, swarmNotice } from './refusal-notice.ts';
import type { Revocations } from './revocations.ts';
import { SWARM_PROTOCOL } from './swarm/frames.ts';

/** Who has no certificate yet still knows whom to trust. */
export type Nobody = Pick<Credentials, 'rootPem'>;

export interface DialOptions {
  readonly host: string;
  readonly port: number;
  readonly credentials: Credentials | Nobody;
  /** Is this whom we want to talk to? */
  readonly expect: (identity: Identity) => boolean;
  /** If given, the certificate must be for this DNS name too. */
  readonly serverName?: string | undefined;
  /** The application protocol (ALPN). */
  readonly protocol: string;
  readonly clock: Clock;
  /** Asked of the server's certificate; ends the connection when it is revoked later. Absent: nobody is. */
  readonly revocations?: Revocations | undefined;
  readonly signal?: AbortSignal | undefined;
  /** What is read comes into this one buffer and is told to the callback (as `onread` of node:net); the socket emits no data then. */
  readonly onRead?: { readonly buffer: Buffer; readonly callback: (count: number) => boolean };
}

export interface Dialled {
  readonly socket: TLSSocket;
  /** The TCP socket below: its counters count what crosses the line. With `onRead` there is none, and this is the TLS socket. */
  readonly raw: Socket;
  readonly identity: Identity;
}

/**
 * Opens a TLS 1.3 connection and proves the server: chain to our root, usage, identity, and name if one is given.
 * @throws CONNECTION_FAILED, TLS_EXPECTED, TLS_FAILED, TRUST_ROOT_WRONG, SERVER_NAME_WRONG, CERT_*, ABORTED
 */
export async function dial(options: DialOptions): Promise<Dialled> {
  const { signal } = options;
  if (signal?.aborted) throw new WardcastError('ABORTED', 'The work was cancelled', { cause: signal.reason });
  const { socket, raw } = await handshake(options);
  return { socket, raw, identity: judge(socket, options) };
}

function handshake(o: DialOptions): Promise<Omit<Dialled, 'identity'>> {
  const { host, port, signal } = o;
  const address = `${host}:${port}`;
  return new Promise((resolve, reject) => {
    const raw = o.onRead === undefined ? net.connect({ host, port, noDelay: true, keepAlive: true }) : connectReading(o, o.onRead);
    const fail = (error: Error): void => {
      done();
      raw.destroy();
      reject(at(address, clientSideTlsError(error)));
    };
    const onClose = (): void =>
      fail(
        new WardcastError('TLS_FAILED', `${address} closed the connection during the handshake`, {
          remedy: 'Check that this is the TLS port of a Wardcast daemon.',
        }),
      );
    const onAbort = (): void => fail(new WardcastError('ABORTED', 'The work was cancelled', { cause: signal?.reason }));
    const timer = setTimeout(
      () =>
        fail(
          new WardcastError('CONNECTION_FAILED', `${address} did not answer within ${HANDSHAKE_TIMEOUT / 1000} s`, {
            remedy: 'Check the address and the network between.',
          }),
        ),
      HANDSHAKE_TIMEOUT,
    );
    const done = (): void => {
      clearTimeout(timer);
      signal?.removeEventListener('abort', onAbort);
      raw.removeListener('error', fail);
      raw.removeListener('close', onClose);
      raw.on('error', () => undefined);
    };
    signal?.addEventListener('abort', onAbort, { once: true });
    raw.once('error', fail);
    raw.once('close', onClose);
    const secure = (socket: TLSSocket): void => {
      socket.on('error', fail);
      socket.once('secureConnect', () => {
        done();
        socket.removeListener('error', fail);
        socket.on('error', () => undefined);
        resolve({ socket, raw });
      });
    };
    if (raw instanceof TLSSocket) {
      raw.once('connect', () => raw.setNoDelay(true).setKeepAlive(true));
      secure(raw);
      return;
    }
    raw.once('connect', () => {
      try {
        secure(tls.connect({ ...tlsOptions(o), socket: raw }));
      } catch (error) {
        // A key that does not belong to the certificate throws here, at once.
        fail(error instanceof Error ? error : new Error(String(error)));
      }
    });
  });
}

/** @throws KEY_UNUSABLE, CERT_KEY_MISMATCH */
function connectReading(o: DialOptions, onread: NonNullable<DialOptions['onRead']>): TLSSocket {
  // node:tls hands `onread` to node:net, which its types do not know.
  const options = { ...tlsOptions(o), host: o.host, port: o.port, onread };
  try {
    return tls.connect(options);
  } catch (error) {
    throw at(`${o.host}:${o.port}`, clientSideTlsError(error instanceof Error ? error : new Error(String(error))));
  }
}

function tlsOptions({ credentials, serverName, protocol }: DialOptions): ConnectionOptions {
  return {
    secureContext: contextOf(credentials),
    ALPNProtocols: [protocol],
    ...(serverName === undefined ? {} : { servername: serverName }),
    // Judged below, before a byte is sent or read: so that the server can be told why it is refused.
    rejectUnauthorized: false,
    checkServerIdentity: () => undefined,
  };
}

const contexts = new WeakMap<Credentials | Nobody, { readonly chainPem: string; readonly context: SecureContext }>();

/** Parsing key and chain costs a millisecond or two: once per credentials and renewal, not once per attempt. */
function contextOf(credentials: Credentials | Nobody): SecureContext {
  const { rootPem } = credentials;
  const own = 'keyPem' in credentials ? { key: credentials.keyPem, cert: credentials.chainPem } : {};
  const known = contexts.get(credentials);
  if (known !== undefined && known.chainPem === (own.cert ?? '')) return known.context;
  const context = tls.createSecureContext({ ...own, ca: rootPem, minVersion: 'TLSv1.3' });
  contexts.set(credentials, { chainPem: own.cert ?? '', context });
  return context;
}

/** @throws TRUST_ROOT_WRONG, SERVER_NAME_WRONG, CERT_* */
function judge(socket: TLSSocket, options: DialOptions): Identity {
  try {
    return prove(socket, options);
  } catch (error) {
    const refusal = toWardcastError(error, 'TLS_FAILED', 'The server could not be judged');
    socket.end(noticeFor(options.protocol, refusal));
    socket.resume();
    setTimeout(() => socket.destroy(), REFUSAL_LINGER).unref();
    throw refusal;
  }
}

function noticeFor(protocol: string, refusal: WardcastError): Buffer {
  if (protocol === ENROL_PROTOCOL) return Buffer.alloc(0);
  return protocol === SWARM_PROTOCOL ? swarmNotice(refusal) : clientNotice(refusal);
}

function prove(socket: TLSSocket, { host, port, credentials, expect, serverName, clock, revocations }: DialOptions): Identity {
  const address = `${host}:${port}`;
  const certified = proven(address, () => certifiedPeer(socket, { rootPem: credentials.rootPem, usage: 'server', ...momentOf(clock) }));
  const { identity } = certified;
  revocations?.check(certified);
  if (serverName !== undefined) {
    const mismatch = tls.checkServerIdentity(serverName, socket.getPeerCertificate());
    if (mismatch !== undefined) {
      throw new WardcastError('SERVER_NAME_WRONG', `The certificate of ${address} is not for ${serverName}: ${mismatch.message}`, {
        remedy: 'Correct `server_name` here, or issue the certificate of that daemon with this name.',
        cause: mismatch,
      });
    }
  }
  if (expect(identity)) {
    revocations?.hold(socket, certified);
    return identity;
  }
  throw new WardcastError('SERVER_NAME_WRONG', `${address} is ${identityPath(identity)}, not whom we want to talk to`, {
    remedy: 'Check the address: another daemon, or the one of another site, answers there.',
    context: { identity: identityPath(identity) },
  });
}

/** @throws what `prove` throws, saying with whom */
function proven<T>(address: string, prove: () => T): T {
  try {
    return prove();
  } catch (error) {
    throw at(address, toWardcastError(error, 'TLS_FAILED', 'The server could not be judged'));
  }
}

/** The same error, saying with whom. */
function at(address: string, { code, message, remedy, cause, context }: WardcastError): WardcastError {
  return new WardcastError(code, `${address}: ${message}`, { cause, context, ...(remedy === undefined ? {} : { remedy }) });
}
