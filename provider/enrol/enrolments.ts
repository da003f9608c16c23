import { X509Certificate } from 'node:crypto';
import { type Opened, open, openLate } from '../../certs/envelope.ts';
import { type CertifiedLeaf, certifyLeaf } from '../../certs/issue.ts';
import type { Issuers } from '../../certs/issuers.ts';
import { readPemChain } from '../../certs/pem.ts';
import { type KeyRequest, readRequest } from '../../certs/request.ts';
import { type Clock, timestamp } from '../../shared/base/clock.ts';
import { isWardcastError, toWardcastError, WardcastError } from '../../shared/base/errors.ts';
import { type Certified, type DeviceIdentity, type GatewayIdentity, identityPath, type Scope } from '../../shared/base/identity.ts';
import { CERT_BACKDATE, LEAF_DAYS, LEAF_RENEW_GRACE_DAYS, MAX_PENDING_ENROLMENTS } from '../../shared/base/limits.ts';
import type { Log } from '../../shared/base/log.ts';
import { REFUSED } from '../../shared/net/enrol/counter.ts';
import { type EnrolAnswer, type EnrolRequest, SignedRequest } from '../../shared/wire/enrol.ts';
import { checkProof } from '../../shared/wire/enrol-code.ts';
import type { Signed } from '../../shared/wire/messages.ts';
import { indexRevocations, revokedBecause } from '../../shared/wire/revocation.ts';
import type { Events } from '../events.ts';
import type { Change } from '../registry/changes.ts';
import type { Read } from '../registry/project.ts';
import type { Decision, Registry } from '../registry/registry.ts';
import { listAbout, type RevokedRow, revokedKeys } from '../registry/revoked.ts';
import { keys, type TokenRow } from '../registry/rows.ts';
import type { Alarms } from './alarms.ts';
import { judgeEnrolment, judgeRenewal, type Verdict } from './judge.ts';
import { type Pending, pendingNote, pendings } from './pending.ts';

const DAY = 24 * 60 * 60 * 1000;

interface Parts {
  readonly registry: Registry;
  /** Undefined: this provider certifies nobody. */
  readonly issuers: Issuers | undefined;
  readonly leafDays?: number | undefined;
  readonly rootPem: string;
  readonly alarms: Alarms;
  readonly events: Pick<Events, 'tell'>;
  readonly clock: Clock;
  readonly log: Log;
}

type Certify = Extract<Change, { type: 'device-certified' | 'gateway-certified' }>;

/** Who asks, with what, proven. */
interface Proven {
  readonly identity: DeviceIdentity | GatewayIdentity;
  readonly request: KeyRequest;
  /** Judges on the rows as they then are. */
  readonly judge: (read: Read) => Verdict;
  readonly change: (certified: { key: string; serial: string; expires: string }) => Certify;
  /** What is written down when it has to wait. */
  readonly pending?: Pending;
}

/**
 * Gives certificates: proves who asks, decides, logs, and only then answers. A stranger, whatever was wrong, gets one and the same refusal; the reason is
 * told to ops. Whoever has proven to hold a code, a claim or a certificate is told a little more.
 */
export class Enrolments {
  readonly #o: Parts;

  constructor(parts: Parts) {
    this.#o = parts;
  }

  /**
   * @param via the gateway that passed it on; undefined: it came to the provider's own door, as gateways' own requests do
   * @throws BUSY, STORAGE_FAILED, ABORTED: then nothing is decided
   */
  async answer(request: EnrolRequest, via: GatewayIdentity | undefined): Promise<EnrolAnswer> {
    try {
      if (request.type === 'token') return await this.#decide(await this.#byToken(request, via), via);
      const signed = readSigned(request.signed);
      switch (signed.type) {
        case 'enrol-claim':
          return await this.#decide(this.#byClaim(request.signed, signed, via), via);
        case 'enrol-renewal':
          return await this.#decide(this.#renewal(request.signed, signed, via), via);
        case 'enrol-token':
          return await this.#addToken(request.signed, signed);
      }
    } catch (error) {
      const why = toWardcastError(error);
      if (why.code === 'BUSY' || why.code === 'STORAGE_FAILED' || why.code === 'ABORTED') throw why;
      this.#o.log.warn('enrolment.refused', { code: why.code, error: why, ...(via === undefined ? {} : { via: identityPath(via) }) });
      const { customer, site } = via ?? {};
      this.#o.events.tell('enrolment-refused', {
        ...(customer === undefined || site === undefined ? {} : { customer, site }),
        message: why.message.slice(0, 500),
      });
      return REFUSED;
    }
  }

  // ── who asks ──────────────────────────────────────────────────────────────────────────────────────────

  async #byToken({ token: id, device, request, proof }: Extract<EnrolRequest, { type: 'token' }>, via: GatewayIdentity | undefined): Promise<Proven> {
    const der = Buffer.from(request, 'base64');
    const token = await this.#o.registry.get(keys.token(id));
    if (token === undefined) throw refusal(`There is no token ${id}`);
    if (via?.customer !== token.customer || via.site !== token.site)
      throw refusal(`Token ${id} is for ${token.customer}/${token.site}, and was used elsewhere`);
    if (!checkProof(token.verifier, id, { device, request: der, proof })) throw refusal(`A proof for token ${id} is wrong`);
    const { customer, site, group } = token;
    const scope = { customer, site, group };
    return this.#enrolment({ role: 'device', ...scope, device }, readRequest(der), { by: 'token', name: id, newest: (read) => read(keys.token(id)) ?? token });
  }

  #byClaim(envelope: Signed, { device, request }: Extract<SignedRequest, { type: 'enrol-claim' }>, via: GatewayIdentity | undefined): Proven {
    const signer = open(envelope, this.#o.rootPem, { now: this.#o.clock.now() });
    const { identity } = signer;
    if (identity.role !== 'claim') throw refusal(`A request is signed by ${identityPath(identity)}, which is no claim`);
    if (via?.customer !== identity.customer) throw refusal(`${identityPath(identity)} was used elsewhere`);
    const { customer, group, claim } = identity;
    const asked = this.#enrolment({ role: 'device', customer, site: via.site, group, device }, readRequest(Buffer.from(request, 'base64')), {
      by: 'claim',
      name: claim,
    });
    return { ...asked, judge: (read) => revokedVerdict(signer, read) ?? asked.judge(read) };
  }

  #enrolment(
    identity: DeviceIdentity,
    request: KeyRequest,
    { by, name, newest }: { readonly by: 'token' | 'claim'; readonly name: string; readonly newest?: (read: Read) => TokenRow },
  ): Proven {
    const { customer, site, group, device } = identity;
    const { key } = request;
    const now = this.#o.clock.now();
    return {
      identity,
      request,
      judge: (read) =>
        judgeEnrolment(
          { identity, key, now, ...(newest === undefined ? {} : { token: newest(read) }) },
          {
            device: read(keys.device(customer, device)),
            leaf: read(keys.deviceLeaf(customer, device)),
            standing: read(keys.standing(customer, device)),
            decision: read(keys.decision(customer, device, key)),
          },
        ),
      change: (certified) => ({
        ...{ type: 'device-certified', customer, site, group, device, ...certified, previous: null, by },
        ...(by === 'token' ? { token: name } : { claim: name }),
      }),
      pending: { customer, site, group, device, key, by, name, since: timestamp(this.#o.clock) },
    };
  }

  #renewal(envelope: Signed, { request }: Extract<SignedRequest, { type: 'enrol-renewal' }>, via: GatewayIdentity | undefined): Proven {
    const opened = openLate(envelope, this.#o.rootPem, { now: this.#o.clock.now(), grace: LEAF_RENEW_GRACE_DAYS * DAY });
    const wanted = readRequest(Buffer.from(request, 'base64'));
    const { identity } = opened;
    const unrevoked = (proven: Proven): Proven => ({ ...proven, judge: (read) => revokedVerdict(opened, read) ?? proven.judge(read) });
    if (identity.role === 'device' && via?.customer === identity.customer && via.site === identity.site)
      return unrevoked(deviceRenewal(identity, opened, wanted));
    if (identity.role === 'gateway' && via === undefined) return unrevoked(gatewayRenewal(identity, opened, wanted));
    throw refusal(`${identityPath(identity)} has no business to renew here`);
  }

  // ── what it gets ──────────────────────────────────────────────────────────────────────────────────────

  async #decide(asked: Proven, via: GatewayIdentity | undefined): Promise<EnrolAnswer> {
    const { identity, request, judge, change } = asked;
    const { registry, log } = this.#o;
    const actor = identityPath(identity);
    // Made before it is decided, since the decision takes no time; it is worth nothing until it is on the log, and thrown away if it never is.
    const leaf = this.#certify(identity, request, await registry.get(revokedKeys.identity(identity)));
    const serial = new X509Certificate(leaf.certificatePem).serialNumber.toLowerCase();
    const { result: verdict } = await registry.transact(actor, (read): Decision<Verdict> => {
      const result = judge(read);
      if (result.outcome !== 'certify') return { result };
      const done = { result, change: change({ key: request.key, serial, expires: leaf.notAfter.toISOString() }) };
      return asked.pending === undefined ? done : { ...done, notes: [{ key: pendingNote(asked.pending), value: undefined }] };
    });
    if (verdict.outcome === 'certify') {
      log.info('enrolment.certified', { identity: actor, key: request.key, serial, expires: leaf.notAfter.toISOString() });
      return { status: 'issued', chain: readPemChain(leaf.chainPem).map((der) => der.toString('base64')) };
    }
    if (verdict.outcome === 'pending') return this.#wait(asked.pending, actor);
    log.warn('enrolment.refused', { identity: actor, key: request.key, message: verdict.message });
    return this.#refuse(identity, verdict, via);
  }

  /** @throws ENROL_REFUSED without an authority for it */
  #certify(identity: DeviceIdentity | GatewayIdentity, { publicKey }: KeyRequest, revoked: RevokedRow | undefined): CertifiedLeaf {
    const issuer = this.#o.issuers?.for(identity);
    if (issuer === undefined) throw refusal(`This provider holds no issuing authority for ${identityPath(identity)}`);
    const notAfter = new Date(this.#o.clock.now() + (this.#o.leafDays ?? LEAF_DAYS) * DAY);
    // Backdated as ever, but not into the time whose certificates of this name are revoked.
    const earliest = this.#o.clock.now() - CERT_BACKDATE;
    const notBefore = new Date(Math.max(earliest, revoked === undefined ? 0 : Date.parse(revoked.until) + 1000));
    return certifyLeaf({ issuer, identity, notBefore, notAfter }, publicKey);
  }

  async #wait(pending: Pending | undefined, actor: string): Promise<EnrolAnswer> {
    if (pending === undefined) throw new WardcastError('INTERNAL', 'A renewal never waits');
    const key = pendingNote(pending);
    const { registry, events } = this.#o;
    if ((await registry.note(key)) !== undefined) return { status: 'pending' };
    let waiting = 0;
    for await (const _ of pendings(registry, pending.customer)) waiting++;
    if (waiting >= MAX_PENDING_ENROLMENTS) return { status: 'busy' };
    await registry.transact(actor, () => ({ result: undefined, notes: [{ key, value: pending }] }));
    const { customer, site, group, device } = pending;
    events.tell('enrolment-pending', { customer, site, group, device, key: pending.key });
    return { status: 'pending' };
  }

  async #refuse(
    identity: DeviceIdentity | GatewayIdentity,
    verdict: Exclude<Verdict, { outcome: 'certify' | 'pending' }>,
    via: GatewayIdentity | undefined,
  ): Promise<EnrolAnswer> {
    const { customer, site } = identity;
    const { message } = verdict;
    const device = identity.role === 'device' ? identity.device : identity.gateway;
    if (verdict.outcome === 'refused') {
      this.#o.events.tell('enrolment-refused', { customer, site, device, message });
      return { status: 'refused', code: 'ENROL_REFUSED', message };
    }
    const type = verdict.outcome === 'duplicate' ? 'enrolment-duplicate' : 'clone-suspected';
    await this.#o.alarms.raise({ type, customer, site, device, message }, identityPath(via ?? identity));
    return { status: 'refused', code: verdict.outcome === 'duplicate' ? 'ENROL_DUPLICATE' : 'ENROL_REFUSED', message };
  }

  /** A site's administrator, at the gateway, makes a code for that site. */
  async #addToken(envelope: Signed, { type: _, ...terms }: Extract<SignedRequest, { type: 'enrol-token' }>): Promise<EnrolAnswer> {
    const { identity } = open(envelope, this.#o.rootPem, { now: this.#o.clock.now() });
    if (identity.role !== 'gateway') throw refusal(`${identityPath(identity)} may make no tokens`);
    const { customer, site } = identity;
    const expires = new Date(this.#o.clock.now() + terms.lifetime * 1000).toISOString();
    const change: Change = { type: 'token-added', customer, site, ...terms, expires };
    try {
      await this.#o.registry.transact(identityPath(identity), () => ({ result: undefined, change }));
    } catch (error) {
      if (!isWardcastError(error, 'CONFLICT') && !isWardcastError(error, 'NOT_FOUND')) throw error;
      return { status: 'refused', code: error.code, message: error.message };
    }
    return { status: 'token', expires };
  }
}

/** A revoked certificate gets no successor. */
function revokedVerdict(signer: Certified, read: Read): Verdict | undefined {
  const list = listAbout(signer.identity, read, (name) => read(keys.customer(name))?.retired !== undefined);
  const message = revokedBecause(indexRevocations([list]), signer);
  return message === undefined ? undefined : { outcome: 'refused', message };
}

function deviceRenewal(identity: DeviceIdentity, { key: old }: Opened, request: KeyRequest): Proven {
  const { customer, site, group, device } = identity;
  const wanted = { name: `${customer}/${device}`, scope: identity, old, key: request.key };
  return {
    identity,
    request,
    judge: (read) => judgeRenewal(wanted, { registered: read(keys.device(customer, device)), leaf: read(keys.deviceLeaf(customer, device)) }),
    change: (certified) => ({ type: 'device-certified', customer, site, group, device, ...certified, previous: old, by: 'renewal' }),
  };
}

function gatewayRenewal(identity: GatewayIdentity, { key: old }: Opened, request: KeyRequest): Proven {
  const { customer, site, gateway } = identity;
  const wanted = { name: `${customer}/${site}/${gateway}`, scope: undefined, old, key: request.key };
  const registered = (read: Read): Scope | undefined => {
    const row = read(keys.site(customer, site));
    return row === undefined ? undefined : { ...row, group: '' };
  };
  return {
    identity,
    request,
    judge: (read) => judgeRenewal(wanted, { registered: registered(read), leaf: read(keys.gatewayLeaf(customer, site, gateway)) }),
    change: (certified) => ({ type: 'gateway-certified', customer, site, gateway, ...certified, previous: old }),
  };
}

/** What is said before its signature is verified; whoever uses it verifies. @throws STATEMENT_INVALID */
function readSigned({ payload }: Signed): SignedRequest {
  try {
    return SignedRequest.parse(JSON.parse(Buffer.from(payload, 'base64').toString('utf8')));
  } catch (error) {
    throw new WardcastError('STATEMENT_INVALID', 'A signed request for a certificate is malformed', { cause: error });
  }
}

function refusal(why: string): WardcastError {
  return new WardcastError('ENROL_REFUSED', why);
}
