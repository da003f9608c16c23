import { X509Certificate } from 'node:crypto';
import type { Credentials } from '../../../certs/credentials.ts';
import { seal } from '../../../certs/envelope.ts';
import type { LiveCredentials } from '../../../certs/live-credentials.ts';
import type { Clock } from '../../base/clock.ts';
import { toWardcastError } from '../../base/errors.ts';
import { type Identity, identityPath } from '../../base/identity.ts';
import { CERT_BACKDATE, ENROL_RETRY_MAX, LEAF_RENEW_AFTER, LEAF_RETRY_MAX, LEAF_RETRY_MIN, RENEWAL_RETRY } from '../../base/limits.ts';
import type { Log } from '../../base/log.ts';
import type { EnrolAnswer, EnrolRequest, SignedRequest } from '../../wire/enrol.ts';
import { chainPemOf, installLeaf, nextKey } from './leaf-folder.ts';

/** Brings a request to whoever can answer it, and the answer back; may take as long as it likes. */
export type AskRenewal = (
  request: EnrolRequest,
  o: { readonly rootPem: string; readonly identity: Identity; readonly signal: AbortSignal },
) => Promise<EnrolAnswer>;

interface Options {
  /** The credentials folder. */
  readonly directory: string;
  readonly ask: AskRenewal;
  readonly clock: Clock;
  readonly log: Log;
  readonly random: () => number;
}

/** Asks for the next leaf when this one has lived two thirds of its life, and puts it to use; until the signal aborts. Never throws. */
export async function keepLeafFresh(o: Options & { readonly credentials: LiveCredentials }, signal: AbortSignal): Promise<void> {
  const { clock, credentials } = o;
  try {
    while (!signal.aborted) {
      const wait = renewalDue(credentials) - clock.now();
      // In steps: the clock may be set meanwhile, and timers do not reach further than 24 days.
      if (wait > 0) await clock.sleep(Math.min(wait, RENEWAL_RETRY), { signal });
      else if (!(await renew(o, signal))) await clock.sleep(pause(o, credentials), { signal });
    }
  } catch (error) {
    if (!signal.aborted) o.log.error('leaf.renewal-failed', { error: toWardcastError(error) });
  }
}

/** When to ask for the next one: milliseconds since 1970. */
export function renewalDue({ chain, expires }: Pick<Credentials, 'chain' | 'expires'>): number {
  const [leaf] = chain;
  const end = expires.getTime();
  if (leaf === undefined) return end;
  const start = Math.min(end, new X509Certificate(leaf).validFromDate.getTime() + CERT_BACKDATE);
  return start + (end - start) * LEAF_RENEW_AFTER;
}

/** @returns false: not this time */
async function renew(o: Options & { readonly credentials: LiveCredentials }, signal: AbortSignal): Promise<boolean> {
  const { directory, ask, log, credentials } = o;
  const { identity, rootPem } = credentials;
  try {
    const next = await nextKey(directory, identityPath(identity));
    const said: SignedRequest = { type: 'enrol-renewal', request: next.request.toString('base64') };
    const answer = await ask({ type: 'signed', signed: seal(Buffer.from(JSON.stringify(said), 'utf8'), credentials) }, { rootPem, identity, signal });
    if (answer.status !== 'issued') {
      log.warn('leaf.not-renewed', { ...answer, expires: credentials.expires.toISOString() });
      return false;
    }
    const accept = (issued: Identity): boolean => identityPath(issued) === identityPath(identity);
    credentials.renew(await installLeaf(directory, { next, chainPem: chainPemOf(answer.chain), rootPem, accept }));
    log.info('leaf.renewed', { identity: identityPath(identity), expires: credentials.expires.toISOString() });
    return true;
  } catch (error) {
    if (signal.aborted) throw error;
    log.warn('leaf.not-renewed', { error: toWardcastError(error), expires: credentials.expires.toISOString() });
    return false;
  }
}

/** Milliseconds to the next attempt: the less is left, the sooner; jitter of a half, so that a site's devices do not come together. */
function pause({ clock, random }: Options, { expires }: Credentials): number {
  const left = expires.getTime() - clock.now();
  const wanted = left > 0 ? left / 20 : ENROL_RETRY_MAX;
  return Math.max(LEAF_RETRY_MIN, Math.min(LEAF_RETRY_MAX, wanted)) * (0.5 + random() / 2);
}
