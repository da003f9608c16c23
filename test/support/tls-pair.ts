import type { AddressInfo } from 'node:net';
import tls, { type TLSSocket } from 'node:tls';
import type { Papers } from './bad-certificates.ts';

/** What each side of one TLS 1.3 connection got to see. */
export interface Meeting {
  /** `secureConnection`, judged by `onServer`. */
  readonly server: Outcome;
  readonly client: Outcome;
}
export interface Outcome {
  readonly secured: boolean;
  /** The value that the judge returned or threw. */
  readonly judged?: unknown;
  /** The error event (client) or tlsClientError (server). */
  readonly error?: unknown;
  /** What node:tls thought of the other side's certificate when it gave the error. */
  readonly authorizationError?: unknown;
}

export interface MeetingOptions {
  readonly server: Papers;
  /** Undefined: no certificate. */
  readonly client: Papers | undefined;
  readonly clientRoot?: string;
  readonly reject: boolean;
  readonly servername?: string;
  readonly onServer?: (socket: TLSSocket) => unknown;
  readonly onClient?: (socket: TLSSocket) => unknown;
}

/** Connects a client to a server on loopback over real sockets, lets both judge, and returns when both are closed. */
export async function meet(options: MeetingOptions): Promise<Meeting> {
  const { promise: served, resolve: serverDone } = Promise.withResolvers<Outcome>();
  const server = tls.createServer({ ...paperOptions(options.server), minVersion: 'TLSv1.3', requestCert: true, rejectUnauthorized: options.reject });
  server.on('secureConnection', (socket) => {
    socket.on('error', () => undefined);
    serverDone({ secured: true, ...attempt(() => options.onServer?.(socket)) });
    socket.resume();
    socket.end();
  });
  server.on('tlsClientError', (error, socket) => serverDone({ secured: false, error, authorizationError: socket.authorizationError }));
  const port = await listen(server);
  try {
    const client = await dial(port, options);
    // A client that never sent a TLS byte (its own key is wrong) leaves the server nothing to report.
    const server_ = client.secured || !isThrown(client) ? await served : { secured: false };
    return { server: server_, client };
  } finally {
    server.close();
  }
}

function dial(port: number, options: MeetingOptions): Promise<Outcome> {
  const { promise, resolve } = Promise.withResolvers<Outcome>();
  const seen: { secured: boolean; judged?: unknown; error?: unknown; thrown?: true } = { secured: false };
  try {
    const socket = tls.connect({
      host: '127.0.0.1',
      port,
      minVersion: 'TLSv1.3',
      servername: options.servername ?? 'localhost',
      rejectUnauthorized: options.reject,
      ...(options.client === undefined ? {} : paperOptions(options.client)),
      ca: options.clientRoot ?? options.client?.rootPem ?? options.server.rootPem,
    });
    socket.on('secureConnect', () => {
      seen.secured = true;
      Object.assign(
        seen,
        attempt(() => options.onClient?.(socket)),
      );
      socket.resume();
    });
    socket.on('error', (error) => Object.assign(seen, { error }));
    socket.on('close', () => resolve(seen));
  } catch (error) {
    resolve({ secured: false, error, judged: THROWN });
  }
  return promise;
}

const THROWN = Symbol('thrown by tls.connect');
const isThrown = (outcome: Outcome): boolean => outcome.judged === THROWN;

function attempt(judge: () => unknown): { judged: unknown } {
  try {
    return { judged: judge() };
  } catch (error) {
    return { judged: error };
  }
}

function paperOptions({ keyPem, chainPem, rootPem }: Papers): { key: string; cert: string; ca: string } {
  return { key: keyPem, cert: chainPem, ca: rootPem };
}

export async function listen(server: tls.Server): Promise<number> {
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const address: AddressInfo | string | null = server.address();
  if (address === null || typeof address === 'string') throw new Error('no port');
  return address.port;
}
