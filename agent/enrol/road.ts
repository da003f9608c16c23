import type { Clock } from '../../shared/base/clock.ts';
import { WardcastError } from '../../shared/base/errors.ts';
import type { Identity } from '../../shared/base/identity.ts';
import { ENROL_RETRY_MAX, ENROL_RETRY_MIN } from '../../shared/base/limits.ts';
import type { Log } from '../../shared/base/log.ts';
import { type Asked, askForLeaf } from '../../shared/net/enrol/ask.ts';
import type { EnrolRequest } from '../../shared/wire/enrol.ts';
import { type Address, Candidates, follow, type Sighting } from '../locate.ts';

export interface RoadOptions {
  readonly rootPem: string;
  /** Configured address; when given, nothing else is tried. */
  readonly fixed: Address | undefined;
  readonly browse: (signal: AbortSignal) => AsyncIterable<Sighting>;
  readonly expect: (identity: Identity) => boolean;
  readonly clock: Clock;
  readonly log: Log;
  readonly random: () => number;
}

/**
 * Puts a request to gateways of this LAN, one after the other, until one brings an answer that `settles` accepts; waits between attempts with full jitter.
 * @param request made anew for each attempt
 * @throws what `request` or `settles` throws; ABORTED
 */
export async function askAround<T>(
  o: RoadOptions,
  ask: { readonly request: () => Promise<EnrolRequest>; readonly settles: (asked: Asked) => Promise<T | undefined> },
  signal: AbortSignal,
): Promise<T> {
  const { clock, log, random, rootPem, expect } = o;
  const candidates = new Candidates(o.fixed);
  const stop = new AbortController();
  const until = AbortSignal.any([signal, stop.signal]);
  const browsing = o.fixed === undefined ? follow(o, candidates, until) : undefined;
  try {
    for (let failures = 0; ; failures++) {
      const address = await candidates.next(signal);
      const asked = await askForLeaf({ ...address, rootPem, expect, clock, signal }, await ask.request()).catch((error: unknown) => {
        if (signal.aborted) throw aborted(signal);
        log.warn('enrol.unanswered', { host: address.host, port: address.port, error });
      });
      const settled = asked === undefined ? undefined : await ask.settles(asked);
      if (settled !== undefined) return settled;
      if (asked !== undefined) log.info('enrol.waiting', { host: address.host, port: address.port, status: asked.answer.status });
      const rounds = Math.floor(failures / Math.max(1, candidates.size));
      await clock.sleep(random() * Math.min(ENROL_RETRY_MAX, ENROL_RETRY_MIN * 2 ** Math.min(rounds, 16)), { signal });
    }
  } catch (error) {
    throw signal.aborted ? aborted(signal) : error;
  } finally {
    stop.abort();
    await browsing;
  }
}

function aborted(signal: AbortSignal): WardcastError {
  return new WardcastError('ABORTED', 'The work was cancelled', { cause: signal.reason });
}
