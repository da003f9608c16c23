import type { KeyObject } from 'node:crypto';
import { WardcastError } from '../shared/base/errors.ts';
import { isId, isTrustDomain } from '../shared/base/identity.ts';
import { CERT_BACKDATE, CUSTOMER_CA_DAYS, GROUP_CA_DAYS, ROOT_CA_DAYS } from '../shared/base/limits.ts';
import { buildCertificate, createKeyPair } from './build.ts';
import { type CaScope, caSubject, caUri, permittedSubtree } from './scope.ts';

/** A CA with its private key: lives offline, on the machine where certificates are issued. */
export interface Authority {
  readonly scope: CaScope;
  readonly trustDomain: string;
  readonly certificatePem: string;
  readonly key: KeyObject;
  readonly keyPem: string;
  /** This CA and those above it, without the root; empty for the root itself. */
  readonly chainPem: string;
  readonly rootPem: string;
  readonly notAfter: Date;
}

/** From when to when; by default from a little before now, for as long as limits.ts says. Never beyond the issuer. */
export interface Validity {
  readonly notBefore?: Date | undefined;
  readonly notAfter?: Date | undefined;
}

const DAY = 24 * 60 * 60 * 1000;

/** @throws USAGE when the trust domain is no SPIFFE trust domain */
export async function createRootCa(o: { readonly trustDomain: string } & Validity): Promise<Authority> {
  if (!isTrustDomain(o.trustDomain)) {
    throw new WardcastError('USAGE', `${JSON.stringify(o.trustDomain)} is no trust domain`, {
      remedy: 'Use a name like example.com: lower case, digits, dots and hyphens.',
    });
  }
  const { publicKey, privateKey, keyPem } = await createKeyPair();
  const scope: CaScope = { kind: 'root' };
  const { notBefore, notAfter } = validity(o, ROOT_CA_DAYS);
  const certificatePem = buildCertificate({
    subject: caSubject(o.trustDomain, scope),
    publicKey,
    issuer: undefined,
    issuerKey: privateKey,
    uris: [caUri(o.trustDomain, scope)],
    ca: { pathLength: 2 },
    notBefore,
    notAfter,
  });
  return { scope, trustDomain: o.trustDomain, certificatePem, key: privateKey, keyPem, chainPem: '', rootPem: certificatePem, notAfter };
}

/** Issues the provider and nothing else: a stolen customer CA cannot make a provider. */
export function createProviderCa(root: Authority, o: Validity = {}): Promise<Authority> {
  return createBelow(root, { kind: 'provider' }, 0, CUSTOMER_CA_DAYS, o);
}

export function createOpsCa(root: Authority, o: Validity = {}): Promise<Authority> {
  return createBelow(root, { kind: 'ops' }, 0, CUSTOMER_CA_DAYS, o);
}

/** Issues the customer's gateways and group CAs. @throws USAGE */
export function createCustomerCa(root: Authority, o: { readonly customer: string } & Validity): Promise<Authority> {
  return createBelow(root, { kind: 'customer', customer: checkId('customer', o.customer) }, 1, CUSTOMER_CA_DAYS, o);
}

/** Issues the devices of one group of one customer: its name is what entitles them. @throws USAGE */
export async function createGroupCa(
  customerCa: Authority,
  o: { readonly group: string /** 1 unless the group is re-keyed. */; readonly generation?: number | undefined } & Validity,
): Promise<Authority> {
  if (customerCa.scope.kind !== 'customer') throw new WardcastError('INTERNAL', 'Only a customer CA issues group CAs');
  return createBelow(
    customerCa,
    { kind: 'group', customer: customerCa.scope.customer, group: checkId('group', o.group), generation: o.generation },
    0,
    GROUP_CA_DAYS,
    o,
  );
}

async function createBelow(parent: Authority, scope: CaScope, pathLength: number, days: number, o: Validity): Promise<Authority> {
  const { publicKey, privateKey, keyPem } = await createKeyPair();
  const { notBefore, notAfter } = validity(o, days, parent.notAfter);
  const certificatePem = buildCertificate({
    subject: caSubject(parent.trustDomain, scope),
    publicKey,
    issuer: parent,
    issuerKey: parent.key,
    uris: [caUri(parent.trustDomain, scope)],
    ca: { pathLength, permitted: permittedSubtree(scope) },
    notBefore,
    notAfter,
  });
  const { trustDomain, rootPem } = parent;
  return { scope, trustDomain, certificatePem, key: privateKey, keyPem, chainPem: certificatePem + parent.chainPem, rootPem, notAfter };
}

/** @throws USAGE when the end lies before the start */
export function validity(o: Validity, days: number, latest?: Date): { notBefore: Date; notAfter: Date } {
  const notBefore = o.notBefore ?? new Date(Date.now() - CERT_BACKDATE);
  const wanted = o.notAfter ?? new Date(Math.max(Date.now(), notBefore.getTime()) + days * DAY);
  const notAfter = latest !== undefined && latest < wanted ? latest : wanted;
  if (notAfter > notBefore) return { notBefore, notAfter };
  throw new WardcastError('USAGE', `A certificate cannot be valid from ${notBefore.toISOString()} to ${notAfter.toISOString()}`, {
    remedy: 'Choose an end after the start, within the validity of the issuing CA.',
  });
}

/** @throws USAGE */
export function checkId(what: string, id: string): string {
  if (isId(id)) return id;
  throw new WardcastError('USAGE', `${JSON.stringify(id)} is no ${what} id`, {
    remedy: 'Ids are DNS labels: a–z, 0–9 and inner hyphens, at most 63 characters.',
  });
}
