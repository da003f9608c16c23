import { isWardcastError } from '../shared/base/errors.ts';
import type { DeviceIdentity, Identity, Scope } from '../shared/base/identity.ts';
import { sameScope } from '../shared/base/identity.ts';
import { chunkSizes } from '../shared/bundle/manifest.ts';
import type { ServedBundle } from '../shared/net/chunk-server.ts';
import type { GroupView } from '../shared/trust/client.ts';
import { OwnReleases } from './fetch/own-releases.ts';
import type { InstalledTree } from './handlers/directory.ts';
import { isOwnGateway } from './locate.ts';

interface Stock {
  readonly view: GroupView | undefined;
  /** Every chunk of the bundle. */
  readonly named: ReadonlySet<string>;
  readonly chunks: OwnReleases;
}

/** Who may knock at a device's own door: devices of its group at its site, and the site's gateway. */
export function mayKnock(device: DeviceIdentity, identity: Identity): boolean {
  return isOwnGateway(device, identity) || (identity.role === 'device' && sameScope(device, identity));
}

/**
 * What this device serves of its group's bundle to others: the verified metadata, and chunks that the bundle names and that stand on it. What else
 * stands on it is nobody's: a device that moved here still has releases of its old group.
 */
export class OwnShelf {
  readonly #device: DeviceIdentity;
  readonly #view: () => GroupView | undefined;
  #trees: readonly InstalledTree[] = [];
  #stock: Stock | undefined;

  constructor(device: DeviceIdentity, view: () => GroupView | undefined) {
    this.#device = device;
    this.#view = view;
  }

  /** What stands on the device has changed. */
  restock(trees: readonly InstalledTree[]): void {
    this.#trees = trees;
    this.#stock = undefined;
  }

  /** For createChunkHandler, which asks the policy whether `identity` may fetch it. */
  readonly find = (_identity: Identity, scope: Scope): ServedBundle | undefined => {
    if (!sameScope(scope, this.#device)) return undefined;
    const { view, named, chunks } = this.#stocked();
    return {
      scope: this.#device,
      has: (hash) => named.has(hash),
      metadata: async (name) => view?.metadata.get(name),
      target: async (hash) => view?.targets.get(hash),
      chunk: async (hash) => {
        try {
          return await chunks.get(hash);
        } catch (error) {
          // A file that no longer holds it: absent, as for anything else this device has not got.
          if (isWardcastError(error, 'OBJECT_ABSENT') || isWardcastError(error, 'HASH_MISMATCH')) return undefined;
          throw error;
        }
      },
    };
  };

  #stocked(): Stock {
    const view = this.#view();
    if (this.#stock === undefined || this.#stock.view !== view) {
      const named = new Set([...(view?.manifests.values() ?? [])].flatMap((manifest) => [...chunkSizes(manifest).keys()]));
      this.#stock = { view, named, chunks: new OwnReleases(this.#trees, named) };
    }
    return this.#stock;
  }
}
