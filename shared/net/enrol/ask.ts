import type { Clock } from '../../base/clock.ts';
import { WardcastError } from '../../base/errors.ts';
import type { Identity } from '../../base/identity.ts';
import { ENROL_TIMEOUT } from '../../base/limits.ts';
import { ENROL_PROTOCOL, EnrolAnswer, type EnrolRequest } from '../../wire/enrol.ts';
import { dial } from '../dial.ts';
import { printLine, readLine } from './lines.ts';

export interface AskOptions {
  readonly host: string;
  readonly port: number;
  /** If given, the certificate must be for this DNS name too. */
  readonly serverName?: string | undefined;
  readonly rootPem: string;
  /** Is this whom we want to ask? */
  readonly expect: (identity: Identity) => boolean;
  readonly clock: Clock;
  readonly signal: AbortSignal;
}

export interface Asked {
  readonly answer: EnrolAnswer;
  /** Who answered, proven by certificate. */
  readonly by: Identity;
}

/**
 * Asks a gateway, or the provider, for a certificate. We show none: the request proves itself.
 * @throws CONNECTION_FAILED, TLS_*, TRUST_ROOT_WRONG, SERVER_NAME_WRONG, CERT_*, CONNECTION_LOST, PROTOCOL_VIOLATION, ABORTED
 */
export async function askForLeaf(o: AskOptions, request: EnrolRequest): Promise<Asked> {
  const { host, port, serverName, expect, clock } = o;
  const signal = AbortSignal.any([o.signal, AbortSignal.timeout(ENROL_TIMEOUT)]);
  const { socket, identity } = await dial({
    ...{ host, port, serverName, expect, clock, signal },
    credentials: { rootPem: o.rootPem },
    protocol: ENROL_PROTOCOL,
  });
  try {
    if (socket.alpnProtocol !== ENROL_PROTOCOL) {
      throw new WardcastError('PROTOCOL_VIOLATION', `${host}:${port} does not enrol devices`, { remedy: 'Update the gateway, or check the address.' });
    }
    socket.on('error', () => undefined);
    socket.write(printLine(request));
    return { answer: parse(await readLine(socket, signal)), by: identity };
  } finally {
    socket.destroy();
  }
}

function parse(line: Buffer): EnrolAnswer {
  try {
    return EnrolAnswer.parse(JSON.parse(line.toString('utf8')));
  } catch (error) {
    throw new WardcastError('PROTOCOL_VIOLATION', 'The answer to an enrolment cannot be read', {
      cause: error,
      remedy: 'Both sides are of versions that do not understand each other: update the older one.',
    });
  }
}
