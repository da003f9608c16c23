import type { KeyObject } from 'node:crypto';
import { WardcastError } from '../shared/base/errors.ts';
import { type Identity, identityPath } from '../shared/base/identity.ts';
import type { Credentials } from './credentials.ts';

/** Credentials whose key and chain are replaced while a daemon runs: whoever holds them has the newest. The identity and the root never change. */
export class LiveCredentials implements Credentials {
  readonly identity: Identity;
  readonly trustDomain: string;
  readonly rootPem: string;
  #newest: Credentials;
  readonly #listeners: (() => void)[] = [];

  constructor(first: Credentials) {
    this.identity = first.identity;
    this.trustDomain = first.trustDomain;
    this.rootPem = first.rootPem;
    this.#newest = first;
  }

  get key(): KeyObject {
    return this.#newest.key;
  }

  get keyPem(): string {
    return this.#newest.keyPem;
  }

  get chainPem(): string {
    return this.#newest.chainPem;
  }

  get chain(): readonly Buffer[] {
    return this.#newest.chain;
  }

  get begins(): Date {
    return this.#newest.begins;
  }

  get expires(): Date {
    return this.#newest.expires;
  }

  readonly onRenewed = (listener: () => void): void => {
    this.#listeners.push(listener);
  };

  /** @throws CERT_WRONG_ROLE when they are somebody else's */
  renew(newer: Credentials): void {
    if (identityPath(newer.identity) !== identityPath(this.identity) || newer.rootPem !== this.rootPem) {
      throw new WardcastError('CERT_WRONG_ROLE', `A certificate of ${identityPath(newer.identity)} does not renew that of ${identityPath(this.identity)}`);
    }
    this.#newest = newer;
    for (const listener of this.#listeners) listener();
  }
}
