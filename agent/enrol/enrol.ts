import { readFile } from 'node:fs/promises';
import { type Credentials, loadCredentials, loadRoot } from '../../certs/credentials.ts';
import { seal } from '../../certs/envelope.ts';
import type { Clock } from '../../shared/base/clock.ts';
import { isWardcastError, systemCode, WardcastError } from '../../shared/base/errors.ts';
import { identityPath } from '../../shared/base/identity.ts';
import { MAX_CONFIG } from '../../shared/base/limits.ts';
import type { Asked } from '../../shared/net/enrol/ask.ts';
import { chainPemOf, installLeaf, type NextKey, nextKey } from '../../shared/net/enrol/leaf-folder.ts';
import type { EnrolRequest, SignedRequest } from '../../shared/wire/enrol.ts';
import { parseCode, proofOf } from '../../shared/wire/enrol-code.ts';
import { askAround, type RoadOptions } from './road.ts';

/** What a device shows for itself: a code, or the claim certificate it was shipped with. */
export type Ticket = { readonly kind: 'code'; readonly text: string } | { readonly kind: 'claim'; readonly credentials: Credentials };

export interface EnrolOptions extends Omit<RoadOptions, 'rootPem' | 'expect'> {
  /** The credentials folder; holds root.pem, and the leaf in the end. */
  readonly directory: string;
  /** The id this device wants. */
  readonly device: string;
  readonly ticket: Ticket;
  /** Told when somebody has to approve it, with the beginning of the key that they see. */
  readonly onPending?: (key: string) => void;
  /** Whether a refusal is the end, as for a person who waits, or tried again: the code may be renewed, the other gateway may be the right one. */
  readonly persistent: boolean;
}

/**
 * Makes a key, asks for its certificate, and puts it in place; goes on until somebody answers.
 * @throws ENROL_REFUSED, ENROL_DUPLICATE unless persistent; USAGE, KEY_UNUSABLE, CERT_*, STORAGE_FAILED, ABORTED
 */
export async function enrol(o: EnrolOptions, signal: AbortSignal): Promise<Credentials> {
  const { directory, device, ticket, log, clock } = o;
  const rootPem = await loadRoot(directory);
  const next = await nextKey(directory, device);
  const request = await requestFor(ticket, device, next);
  const credentials = await askAround(
    { ...o, rootPem, expect: (identity) => identity.role === 'gateway' },
    { request: async () => request, settles: (asked) => settle(asked, o, next, rootPem) },
    signal,
  );
  log.info('enrolled', { identity: identityPath(credentials.identity), expires: credentials.expires.toISOString(), at: clock.now() });
  return credentials;
}

async function requestFor(ticket: Ticket, device: string, next: NextKey): Promise<EnrolRequest> {
  const request = next.request.toString('base64');
  if (ticket.kind === 'code') {
    const code = parseCode(ticket.text);
    return { type: 'token', token: code.token, device, request, proof: await proofOf(code, device, next.request) };
  }
  const said: SignedRequest = { type: 'enrol-claim', device, request };
  return { type: 'signed', signed: seal(Buffer.from(JSON.stringify(said), 'utf8'), ticket.credentials) };
}

async function settle({ answer, by }: Asked, o: EnrolOptions, next: NextKey, rootPem: string): Promise<Credentials | undefined> {
  switch (answer.status) {
    case 'issued':
      try {
        return await installLeaf(o.directory, { next, chainPem: chainPemOf(answer.chain), rootPem, accept: isOurs(o.device, by) });
      } catch (error) {
        if (!o.persistent || isWardcastError(error, 'STORAGE_FAILED')) throw error;
        // That gateway is not to be believed; the next one may be.
        o.log.error('enrol.useless-answer', { by: identityPath(by), error });
        return undefined;
      }
    case 'pending':
      o.onPending?.(next.key);
      return undefined;
    case 'refused': {
      const duplicate = answer.code === 'ENROL_DUPLICATE';
      const error = new WardcastError(duplicate ? 'ENROL_DUPLICATE' : 'ENROL_REFUSED', answer.message, {
        remedy: duplicate
          ? 'Choose another id, or have ops release this one with `wardcast enrol release` if it is the same device with a new disk.'
          : 'Check the code, its site and the device id with whoever made it; `wardcast enrol tokens` and the event enrolment-refused say why.',
      });
      if (!o.persistent) throw error;
      o.log.error('enrol.refused', { code: error.code, error });
      return undefined;
    }
    case 'token':
    case 'busy':
      return undefined;
  }
}

/** The certificate must be for the id we asked for, at the site of the gateway that brought it. */
function isOurs(device: string, by: Asked['by']): (identity: Credentials['identity']) => boolean {
  return (identity) =>
    identity.role === 'device' && by.role === 'gateway' && identity.device === device && identity.customer === by.customer && identity.site === by.site;
}

/** @throws CONFIG_INVALID when the file cannot be read */
export async function readTicket(o: { readonly tokenFile: string | undefined; readonly claim: string | undefined }, clock: Clock): Promise<Ticket | undefined> {
  if (o.tokenFile !== undefined) {
    try {
      const text = await readFile(o.tokenFile, 'utf8');
      if (text.length < MAX_CONFIG) return { kind: 'code', text };
    } catch (error) {
      if (systemCode(error) !== 'ENOENT' || o.claim === undefined) {
        throw new WardcastError('CONFIG_INVALID', `The enrolment code in ${o.tokenFile} cannot be read: ${systemCode(error) ?? String(error)}`, {
          remedy: 'Write the code there that `wardcast enrol token` printed.',
          cause: error,
        });
      }
    }
  }
  return o.claim === undefined ? undefined : { kind: 'claim', credentials: await loadCredentials(o.claim, clock) };
}
