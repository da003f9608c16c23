import type { TLSSocket } from 'node:tls';
import type { Clock } from '../../base/clock.ts';
import { toWardcastError } from '../../base/errors.ts';
import { ENROL_BURST, ENROL_RATE, ENROL_TIMEOUT, MAX_ENROLLING, REFUSAL_LINGER } from '../../base/limits.ts';
import type { Log } from '../../base/log.ts';
import { TokenBucket } from '../../base/token-bucket.ts';
import { type EnrolAnswer, EnrolRequest } from '../../wire/enrol.ts';
import { printLine, readLine } from './lines.ts';

/** What a stranger hears whatever was wrong: nothing about codes, devices or customers can be learned by asking. */
export const REFUSED: EnrolAnswer = {
  status: 'refused',
  code: 'ENROL_REFUSED',
  message: 'This request is not accepted. Whoever operates the provider can see why.',
};

interface Options {
  /** Decides, or has somebody decide. What it throws is told as BUSY: that side may ask again. */
  readonly answer: (request: EnrolRequest, signal: AbortSignal) => Promise<EnrolAnswer>;
  readonly clock: Clock;
  readonly log: Log;
}

/**
 * Serves those who come in without a certificate: one question of limited size, one answer, the end, within limited time; few at once, and few per second.
 */
export class EnrolCounter {
  readonly #o: Options;
  readonly #open = new Set<TLSSocket>();
  readonly #rate: TokenBucket;

  constructor(options: Options) {
    this.#o = options;
    this.#rate = new TokenBucket({ rate: () => ENROL_RATE, burst: ENROL_BURST, now: options.clock.monotonic() });
  }

  attach(socket: TLSSocket): void {
    if (this.#open.size >= MAX_ENROLLING) {
      end(socket, { status: 'busy' });
      return;
    }
    this.#open.add(socket);
    const timer = setTimeout(() => socket.destroy(), ENROL_TIMEOUT);
    socket.once('close', () => {
      clearTimeout(timer);
      this.#open.delete(socket);
    });
    void this.#serve(socket);
  }

  /** Never throws. */
  async #serve(socket: TLSSocket): Promise<void> {
    const gone = new AbortController();
    socket.once('close', () => gone.abort());
    try {
      const line = await readLine(socket, gone.signal);
      const request = parse(line);
      if (request === undefined) {
        this.#o.log.warn('enrol.malformed', { address: socket.remoteAddress, bytes: line.length });
        end(socket, REFUSED);
      } else if (this.#rate.take(1, this.#o.clock.monotonic()) > 0) {
        end(socket, { status: 'busy' });
      } else end(socket, await this.#o.answer(request, gone.signal));
    } catch (error) {
      if (gone.signal.aborted) return;
      const why = toWardcastError(error);
      this.#o.log.warn('enrol.failed', { address: socket.remoteAddress, code: why.code, error: why });
      end(socket, why.code === 'LIMIT_EXCEEDED' ? REFUSED : { status: 'busy' });
    }
  }
}

function end(socket: TLSSocket, answer: EnrolAnswer): void {
  socket.end(printLine(answer));
  // Read on until the other side ends too: closing over unread bytes resets the connection, and the answer is lost.
  socket.resume();
  const timer = setTimeout(() => socket.destroy(), REFUSAL_LINGER);
  socket.once('end', () => socket.destroy()).once('close', () => clearTimeout(timer));
}

function parse(line: Buffer): EnrolRequest | undefined {
  try {
    return EnrolRequest.safeParse(JSON.parse(line.toString('utf8'))).data;
  } catch {
    return undefined;
  }
}
