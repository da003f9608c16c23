import { isWardcastError, toWardcastError } from '../../shared/base/errors.ts';
import { type GatewayIdentity, identityPath, type Scope } from '../../shared/base/identity.ts';
import type { Log } from '../../shared/base/log.ts';
import type { EmbeddedBroker } from '../../shared/net/broker.ts';
import { down } from '../../shared/wire/topics.ts';
import type { Repositories, StoredRepository } from './repositories.ts';

/** Tells gateways what there is for them. An offer carries no content, and a lost one is made good by the next hello. */
export class Offers {
  readonly #broker: Pick<EmbeddedBroker, 'send'>;
  readonly #repositories: Repositories;
  readonly #log: Log;
  /** Gateways that said hello, by `customer/site`. */
  readonly #present = new Map<string, Map<string, GatewayIdentity>>();

  constructor(o: { broker: Pick<EmbeddedBroker, 'send'>; repositories: Repositories; log: Log }) {
    this.#broker = o.broker;
    this.#repositories = o.repositories;
    this.#log = o.log;
  }

  arrived(gateway: GatewayIdentity): void {
    const site = siteName(gateway);
    const there = this.#present.get(site) ?? new Map<string, GatewayIdentity>();
    there.set(identityPath(gateway), gateway);
    this.#present.set(site, there);
  }

  left(gateway: GatewayIdentity): void {
    const there = this.#present.get(siteName(gateway));
    there?.delete(identityPath(gateway));
    if (there?.size === 0) this.#present.delete(siteName(gateway));
  }

  connected(site: { readonly customer: string; readonly site: string }): boolean {
    return this.#present.has(siteName(site));
  }

  /** To every connected gateway of the site. */
  async offer(scope: Scope): Promise<void> {
    const repository = await this.#repositories.get(scope);
    if (repository === undefined) return;
    for (const gateway of this.#present.get(siteName(scope))?.values() ?? []) await this.#send(gateway, repository);
  }

  /** All groups of its site, to one gateway. */
  async offerAll(gateway: GatewayIdentity): Promise<void> {
    for await (const repository of this.#repositories.list(gateway.customer, gateway.site)) await this.#send(gateway, repository);
  }

  async #send(gateway: GatewayIdentity, { group, sequence, versions }: StoredRepository): Promise<void> {
    const offer = { group, sequence, timestampVersion: versions.timestamp };
    try {
      await this.#broker.send(gateway, down(gateway, 'offer'), Buffer.from(JSON.stringify(offer), 'utf8'));
      this.#log.info('offer.sent', { gateway: identityPath(gateway), ...offer });
    } catch (error) {
      const lost = isWardcastError(error, 'CONNECTION_LOST');
      this.#log[lost ? 'info' : 'error']('offer.lost', { gateway: identityPath(gateway), ...offer, error: toWardcastError(error) });
    }
  }
}

function siteName({ customer, site }: { readonly customer: string; readonly site: string }): string {
  return `${customer}/${site}`;
}
