import type { Identity } from '../shared/base/identity.ts';

/** What a CA may issue for. Written into the CA's own certificate as its SPIFFE URI. */
export type CaScope =
  | { readonly kind: 'root' }
  | { readonly kind: 'provider' }
  | { readonly kind: 'ops' }
  | { readonly kind: 'customer'; readonly customer: string }
  | {
      readonly kind: 'group';
      readonly customer: string;
      readonly group: string;
      /** A group that is re-keyed gets the next one beside the old one; absent: 1. */ readonly generation?: number | undefined;
    };

/** `spiffe://<trust domain>` and, below the root, the path of the CA's scope. */
export function caUri(trustDomain: string, scope: CaScope): string {
  const base = `spiffe://${trustDomain}`;
  switch (scope.kind) {
    case 'root':
      return base;
    case 'provider':
    case 'ops':
      return `${base}/${scope.kind}`;
    case 'customer':
      return `${base}/customer/${scope.customer}`;
    case 'group':
      return `${base}/customer/${scope.customer}/group/${scope.group}`;
  }
}

/** Distinguished name, outermost first; values of at most 64 characters (RFC 5280, appendix A). */
export type Subject = readonly { readonly shortName: 'O' | 'OU' | 'CN'; readonly value: string }[];

/**
 * The name of a CA. A server sees only a leaf and its issuer's name (see docs/decisions/tls-refusals.md), so the name says
 * the scope, and every customer CA is held to its own `O` by a critical name constraint that OpenSSL enforces.
 */
export function caSubject(trustDomain: string, scope: CaScope): Subject {
  switch (scope.kind) {
    case 'root':
      return [{ shortName: 'CN', value: `${trustDomain.slice(0, 50)} root CA` }];
    case 'provider':
    case 'ops':
      return [{ shortName: 'CN', value: `${scope.kind} CA` }];
    case 'customer':
      return [
        { shortName: 'O', value: scope.customer },
        { shortName: 'CN', value: 'customer CA' },
      ];
    case 'group':
      return [
        { shortName: 'O', value: scope.customer },
        { shortName: 'OU', value: scope.group },
        { shortName: 'CN', value: groupCaName(scope.generation ?? 1) },
      ];
  }
}

/** The generation stands in the name, since the name is all that a server sees of a CA; the first has none. */
function groupCaName(generation: number): string {
  return generation === 1 ? 'group CA' : `group CA ${generation}`;
}

const GROUP_CA_NAME = /\nCN=group CA(?: ([1-9]\d{0,2}))?$/;

/** The generation that a group CA's name (as node:crypto prints it) tells; 1 for all other names. The caller compares the whole name. */
export function generationOf(issuerText: string): number {
  return Number(GROUP_CA_NAME.exec(issuerText)?.[1] ?? 1);
}

/** All names below a customer CA start like this; undefined: no constraint. */
export function permittedSubtree(scope: CaScope): Subject | undefined {
  return scope.kind === 'customer' ? [{ shortName: 'O', value: scope.customer }] : undefined;
}

/** A name as node:crypto prints it: one `TYPE=value` per line. */
export function subjectText(subject: Subject): string {
  return subject.map(({ shortName, value }) => `${shortName}=${value}`).join('\n');
}

/** The CAs that must stand above a leaf of this identity, nearest first, ending with the root. */
export function issuersOf(identity: Identity, generation = 1): readonly CaScope[] {
  switch (identity.role) {
    case 'provider':
    case 'ops':
      return [{ kind: identity.role }, { kind: 'root' }];
    case 'gateway':
      return [{ kind: 'customer', customer: identity.customer }, { kind: 'root' }];
    case 'device':
    case 'claim':
      return [
        { kind: 'group', customer: identity.customer, group: identity.group, generation },
        { kind: 'customer', customer: identity.customer },
        { kind: 'root' },
      ];
  }
}

export type Usage = 'client' | 'server';

/** In which directions of TLS a leaf of this role is used. The provider never dials, ops never listens; a claim only signs, so that no door can be opened with it. */
export function usagesOf(role: Identity['role']): readonly Usage[] {
  switch (role) {
    case 'provider':
      return ['server'];
    case 'ops':
      return ['client'];
    case 'gateway':
    case 'device':
      return ['client', 'server'];
    case 'claim':
      return [];
  }
}

/** Extended key usages (RFC 5280, 4.2.1.12). */
export const USAGE_OID: Readonly<Record<Usage, string>> = { server: '1.3.6.1.5.5.7.3.1', client: '1.3.6.1.5.5.7.3.2' };
