import type { Scope } from '../../shared/base/identity.ts';
import { MAX_SITE_GROUPS } from '../../shared/base/limits.ts';
import type { Offer } from '../../shared/wire/messages.ts';
import { GroupRelay, type RelayParts } from './group-relay.ts';

/** All groups of the site, each on its own: one that fails or waits holds no other. */
export class Relay {
  readonly #site: Omit<Scope, 'group'>;
  readonly #parts: RelayParts;
  readonly #groups = new Map<string, GroupRelay>();

  constructor(site: Omit<Scope, 'group'>, parts: RelayParts) {
    this.#site = site;
    this.#parts = parts;
  }

  offer(offer: Offer): void {
    let group = this.#groups.get(offer.group);
    if (group === undefined) {
      if (this.#groups.size >= MAX_SITE_GROUPS) {
        this.#parts.log.error('relay.too-many-groups', { group: offer.group, limit: MAX_SITE_GROUPS });
        return;
      }
      group = new GroupRelay({ ...this.#site, group: offer.group }, this.#parts);
      this.#groups.set(offer.group, group);
    }
    group.offer(offer);
  }

  async close(): Promise<void> {
    await Promise.all([...this.#groups.values()].map((group) => group.close()));
  }
}
