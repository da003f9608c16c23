import type { TLSSocket } from 'node:tls';
import { WardcastError } from '../../base/errors.ts';
import { MAX_ENROL_MESSAGE } from '../../base/limits.ts';

const NEWLINE = 0x0a;

/**
 * Reads the one line that the other side says. Whatever comes after it is not read.
 * @throws LIMIT_EXCEEDED, CONNECTION_LOST when it ends before its line does, ABORTED
 */
export function readLine(socket: TLSSocket, signal: AbortSignal): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    const pieces: Buffer[] = [];
    let length = 0;
    const done = (error: WardcastError | undefined): void => {
      socket.off('data', onData).off('end', onEnd).off('close', onEnd);
      signal.removeEventListener('abort', onAbort);
      socket.pause();
      if (error === undefined) resolve(Buffer.concat(pieces));
      else reject(error);
    };
    const onData = (piece: Buffer): void => {
      const end = piece.indexOf(NEWLINE);
      const part = end < 0 ? piece : piece.subarray(0, end);
      length += part.length;
      pieces.push(part);
      if (length > MAX_ENROL_MESSAGE) done(new WardcastError('LIMIT_EXCEEDED', `An enrolment message has more than ${MAX_ENROL_MESSAGE} bytes`));
      else if (end >= 0) done(undefined);
    };
    const onEnd = (): void => done(new WardcastError('CONNECTION_LOST', 'The other side hung up before it had said all'));
    const onAbort = (): void => done(new WardcastError('ABORTED', 'The work was cancelled', { cause: signal.reason }));
    if (signal.aborted) return onAbort();
    signal.addEventListener('abort', onAbort, { once: true });
    socket.on('data', onData).once('end', onEnd).once('close', onEnd);
  });
}

export function printLine(message: unknown): Buffer {
  return Buffer.from(`${JSON.stringify(message)}\n`, 'utf8');
}
