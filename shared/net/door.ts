import { constants } from 'node:crypto';
import type { IncomingMessage, Server, ServerResponse } from 'node:http';
import type { AddressInfo, Socket } from 'node:net';
import tls, { type SecureContextOptions, type TLSSocket } from 'node:tls';
import type { Credentials } from '../../certs/credentials.ts';
import { certifiedPeer } from '../../certs/identity.ts';
import { serverSideTlsError } from '../../certs/tls-errors.ts';
import { type Clock, momentOf } from '../base/clock.ts';
import { systemCode, toWardcastError, WardcastError } from '../base/errors.ts';
import { type Certified, type Identity, identityPath } from '../base/identity.ts';
import { HANDSHAKE_TIMEOUT, LAN_TIMEOUT, MAX_CONNECTIONS, MAX_LOGGED_REFUSALS, MAX_PENDING_HANDSHAKES, REFUSAL_LINGER } from '../base/limits.ts';
import type { Log } from '../base/log.ts';
import { ENROL_PROTOCOL } from '../wire/enrol.ts';
import { nodeHttp } from './node-http.ts';
import { httpNotice, serverNotice, swarmNotice } from './refusal-notice.ts';
import type { Revocations } from './revocations.ts';
import { SWARM_PROTOCOL } from './swarm/frames.ts';

export interface DoorOptions {
  readonly host: string;
  /** 0: any free one. */
  readonly port: number;
  readonly credentials: Credentials;
  readonly log: Log;
  readonly clock: Clock;
  /** Which identities have business here; the others are refused with CERT_WRONG_ROLE. */
  readonly accept: (identity: Identity) => boolean;
  /** Asked of every certificate; ends connections of those revoked later. Absent: nobody is. */
  readonly revocations?: Revocations | undefined;
  readonly onMqtt?: (socket: TLSSocket, identity: Identity) => void;
  readonly onHttp?: (request: IncomingMessage, response: ServerResponse, identity: Identity) => void;
  /** A connection of the swarm (shared/net/swarm/wire.ts). */
  readonly onSwarm?: (socket: TLSSocket, identity: Identity) => void;
  /** Somebody who asks for a certificate, and so needs none to come in. Absent: that protocol is not spoken here. */
  readonly onEnrol?: (socket: TLSSocket) => void;
  readonly signal?: AbortSignal | undefined;
}

export interface DoorCounters {
  /** Connections let in, refused after or during the handshake, and turned away unlooked at because too many were open. */
  readonly accepted: number;
  readonly refused: number;
  readonly dropped: number;
  /** Connections open now, and those of them whose handshake is not done. */
  readonly open: number;
  readonly pending: number;
}

export interface Door {
  readonly port: number;
  readonly counters: DoorCounters;
  /** Ends all connections. */
  close(): Promise<void>;
}

/** Protocols by ALPN (RFC 7301); a client that names none speaks MQTT. */
export const ALPN = { mqtt: 'mqtt', http: 'http/1.1', swarm: SWARM_PROTOCOL, enrol: ENROL_PROTOCOL } as const;
const identities = new WeakMap<Socket, Identity>();

/** Who is at the other end of a socket that a door let in; undefined for any other socket. */
export function identityOfSocket(socket: Socket): Identity | undefined {
  return identities.get(socket);
}

/**
 * One TLS 1.3 listener for MQTT, https and the swarm. Nobody gets further than this file without a certificate chain that `certs/identity.ts` proves and a
 * role that `accept` lets in; but who speaks the enrolment protocol, and nothing else, is nobody yet and goes to `onEnrol`.
 * @throws CONNECTION_FAILED when the address cannot be listened on
 */
export async function openDoor(options: DoorOptions): Promise<Door> {
  options.signal?.throwIfAborted();
  const door = new TlsDoor(options);
  await door.listen();
  return door;
}

class TlsDoor implements Door {
  readonly #o: DoorOptions;
  readonly #server: tls.Server;
  readonly #http: Server;
  readonly #open = new Set<Socket>();
  /** Raw sockets by the other end's address and port, which is all they share with the TLS socket made of them. */
  readonly #pending = new Map<string, Socket>();
  #accepted = 0;
  #refused = 0;
  #dropped = 0;
  #logWindow = { since: 0, count: 0, suppressed: 0 };

  constructor(options: DoorOptions) {
    this.#o = options;
    const { credentials } = options;
    this.#server = tls.createServer({
      ...contextOf(credentials),
      requestCert: true,
      // Judged in #onSecure, the only way in: OpenSSL's own refusal would reach the client as a bare close, without the reason.
      rejectUnauthorized: false,
      ALPNProtocols: [ALPN.mqtt, ALPN.http, ALPN.swarm, ...(options.onEnrol === undefined ? [] : [ALPN.enrol])],
      handshakeTimeout: HANDSHAKE_TIMEOUT,
    });
    credentials.onRenewed?.(() => this.#server.setSecureContext(contextOf(credentials)));
    this.#server.maxConnections = MAX_CONNECTIONS;
    this.#server.on('drop', () => this.#drop());
    this.#server.on('connection', (socket) => this.#onConnection(socket));
    this.#server.on('secureConnection', (socket) => this.#onSecure(socket));
    this.#server.on('tlsClientError', (error, socket) => this.#onHandshakeFailed(error, socket));
    // Never listens itself. `timeout` and not `headersTimeout`, which only works for sockets that an http.Server accepted itself.
    this.#http = nodeHttp.createServer({ keepAliveTimeout: LAN_TIMEOUT, noDelay: true }, (request, response) => this.#onRequest(request, response));
    this.#http.timeout = LAN_TIMEOUT;
    this.#http.on('clientError', (_error, socket) => socket.destroy());
    options.signal?.addEventListener('abort', this.#onAbort, { once: true });
  }

  readonly #onAbort = (): void => {
    void this.close();
  };

  get port(): number {
    return addressOf(this.#server)?.port ?? 0;
  }

  get counters(): DoorCounters {
    return { accepted: this.#accepted, refused: this.#refused, dropped: this.#dropped, open: this.#open.size, pending: this.#pending.size };
  }

  async listen(): Promise<void> {
    const { host, port, log } = this.#o;
    await new Promise<void>((resolve, reject) => {
      const onError = (error: Error): void =>
        reject(
          new WardcastError('CONNECTION_FAILED', `Cannot listen on ${host}:${port}: ${error.message}`, {
            remedy:
              systemCode(error) === 'EADDRINUSE'
                ? 'Another program listens there: stop it, or choose another port.'
                : 'Check host and port in the configuration.',
            cause: error,
          }),
        );
      this.#server.once('error', onError);
      this.#server.listen({ host, port, backlog: MAX_PENDING_HANDSHAKES }, () => {
        this.#server.removeListener('error', onError);
        this.#server.on('error', (error) => log.error('door.failed', { error }));
        resolve();
      });
    });
  }

  async close(): Promise<void> {
    this.#o.signal?.removeEventListener('abort', this.#onAbort);
    const closed = new Promise<void>((resolve) => this.#server.close(() => resolve()));
    for (const socket of this.#open) socket.destroy();
    await closed;
  }

  #onConnection(socket: Socket): void {
    if (this.#pending.size >= MAX_PENDING_HANDSHAKES) {
      socket.destroy();
      this.#drop();
      return;
    }
    socket.setNoDelay(true);
    this.#open.add(socket);
    const peer = peerOf(socket);
    this.#pending.set(peer, socket);
    socket.once('close', () => {
      this.#open.delete(socket);
      if (this.#pending.get(peer) === socket) this.#pending.delete(peer);
    });
    socket.on('error', (error) => this.#o.log.debug('door.socket_failed', { address: socket.remoteAddress, error }));
  }

  #drop(): void {
    this.#dropped++;
    this.#logRefusal({ code: 'BUSY', message: 'Too many connections are open', dropped: this.#dropped });
  }

  #onSecure(socket: TLSSocket): void {
    this.#pending.delete(peerOf(socket));
    socket.on('error', (error) => this.#o.log.debug('door.socket_failed', { address: socket.remoteAddress, error }));
    if (socket.alpnProtocol === ALPN.enrol && this.#o.onEnrol !== undefined) {
      this.#o.onEnrol(socket);
      return;
    }
    let certified: Certified;
    try {
      certified = this.#judge(socket);
    } catch (error) {
      this.#refuse(socket, toWardcastError(error, 'TLS_FAILED', 'The certificate could not be judged'));
      return;
    }
    this.#accepted++;
    const { identity } = certified;
    identities.set(socket, identity);
    this.#o.revocations?.hold(socket, certified);
    if (socket.alpnProtocol === ALPN.http) this.#http.emit('connection', socket);
    else if (socket.alpnProtocol === ALPN.swarm) this.#o.onSwarm?.(socket, identity);
    else this.#o.onMqtt?.(socket, identity);
  }

  /** @throws CERT_* */
  #judge(socket: TLSSocket): Certified {
    const { credentials, clock, accept, onHttp, onMqtt, onSwarm, revocations } = this.#o;
    // Nothing may ask for the certificate before: getPeerX509Certificate() takes the chain apart, which a wrong clock makes necessary.
    const certified = certifiedPeer(socket, { rootPem: credentials.rootPem, usage: 'client', ...momentOf(clock) });
    const { identity } = certified;
    revocations?.check(certified);
    const handler = socket.alpnProtocol === ALPN.http ? onHttp : socket.alpnProtocol === ALPN.swarm ? onSwarm : onMqtt;
    if (handler === undefined)
      throw new WardcastError('PROTOCOL_VIOLATION', `${socket.alpnProtocol || ALPN.mqtt} is not spoken here`, { remedy: 'Check the port.' });
    if (accept(identity)) return certified;
    throw new WardcastError('CERT_WRONG_ROLE', `${identityPath(identity)} has no business here`, {
      remedy: 'Check that this is the right address, and the certificate the one of this device, site and customer.',
      context: { identity: identityPath(identity) },
    });
  }

  #refuse(socket: TLSSocket, error: WardcastError): void {
    this.#refused++;
    this.#logRefusal({ address: socket.remoteAddress, ...error.toJSON() });
    socket.end(noticeFor(socket.alpnProtocol, error));
    // Read on until the other side ends too: closing over unread bytes resets the connection, and the reason is lost.
    socket.resume();
    const timer = setTimeout(() => socket.destroy(), REFUSAL_LINGER);
    socket.once('end', () => socket.destroy());
    socket.once('close', () => clearTimeout(timer));
  }

  #onHandshakeFailed(error: Error, socket: TLSSocket): void {
    this.#pending.delete(peerOf(socket));
    this.#refused++;
    this.#logRefusal({ address: socket.remoteAddress, ...serverSideTlsError(error, socket).toJSON() });
    socket.destroy();
  }

  #onRequest(request: IncomingMessage, response: ServerResponse): void {
    const identity = identities.get(request.socket);
    if (identity === undefined) request.socket.destroy();
    else this.#o.onHttp?.(request, response, identity);
  }

  #logRefusal(fields: Readonly<Record<string, unknown>>): void {
    const window = this.#logWindow;
    const now = this.#o.clock.monotonic();
    if (now - window.since >= 1000) {
      if (window.suppressed > 0) this.#o.log.warn('door.refused_more', { count: window.suppressed });
      this.#logWindow = { since: now, count: 1, suppressed: 0 };
    } else if (window.count >= MAX_LOGGED_REFUSALS) {
      window.suppressed++;
      return;
    } else window.count++;
    this.#o.log.warn('door.refused', fields);
  }
}

function contextOf(credentials: Credentials): SecureContextOptions {
  return {
    key: credentials.keyPem,
    cert: credentials.chainPem,
    ca: credentials.rootPem,
    minVersion: 'TLSv1.3',
    // No resumption: a resumed session presents no chain and could outlive its certificate. (Without tickets TLS 1.3 resumes only from a
    // server-side cache, which Node leaves to a `resumeSession` listener; there is none.)
    secureOptions: constants.SSL_OP_NO_TICKET,
  };
}

function noticeFor(protocol: string | false | null, error: WardcastError): Buffer | string {
  if (protocol === ALPN.http) return httpNotice(error);
  return protocol === ALPN.swarm ? swarmNotice(error) : serverNotice(error);
}

function peerOf(socket: Socket): string {
  return `${socket.remoteAddress} ${socket.remotePort}`;
}

function addressOf(server: tls.Server): AddressInfo | undefined {
  const address = server.address();
  return typeof address === 'object' && address !== null ? address : undefined;
}
