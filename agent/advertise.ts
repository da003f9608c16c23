import { isWardcastError } from '../shared/base/errors.ts';
import type { DeviceIdentity, Identity, Scope } from '../shared/base/identity.ts';
import { sameScope } from '../shared/base/identity.ts';
import type { ServedBundle } from '../shared/net/chunk-server.ts';
import type { GroupView } from '../shared/trust/client.ts';
import { OwnReleases } from './fetch/own-releases.ts';
import type { InstalledTree } from './handlers/directory.ts';
import { isOwnGateway } from './locate.ts';

/** Who may knock at a device's own door: devices of its group at its site, and the site's gateway. */
export function mayKnock(device: DeviceIdentity, identity: Identity): boolean {
  return isOwnGateway(device, identity) || (identity.role === 'device' && sameScope(device, identity));
}

/** What this device serves of its group's bundle to others: releases that stand on it whole, and the verified metadata. */
export class OwnShelf {
  readonly #device: DeviceIdentity;
  readonly #view: () => GroupView | undefined;
  #chunks = new OwnReleases([]);
  #hashes: ReadonlySet<string> = new Set();

  constructor(device: DeviceIdentity, view: () => GroupView | undefined) {
    this.#device = device;
    this.#view = view;
  }

  /** What stands on the device has changed. */
  restock(trees: readonly InstalledTree[]): void {
    this.#chunks = new OwnReleases(trees);
    this.#hashes = new Set(trees.flatMap(({ manifest }) => manifest.files.flatMap(({ chunks }) => chunks.map(({ hash }) => hash))));
  }

  /** For createChunkHandler, which asks the policy whether `identity` may fetch it. */
  readonly find = (_identity: Identity, scope: Scope): ServedBundle | undefined => {
    if (!sameScope(scope, this.#device)) return undefined;
    return {
      scope: this.#device,
      has: (hash) => this.#hashes.has(hash),
      metadata: async (name) => this.#view()?.metadata.get(name),
      target: async (hash) => this.#view()?.targets.get(hash),
      chunk: async (hash) => {
        try {
          return await this.#chunks.get(hash);
        } catch (error) {
          // A file that no longer holds it: absent, as for anything else this device has not got.
          if (isWardcastError(error, 'OBJECT_ABSENT') || isWardcastError(error, 'HASH_MISMATCH')) return undefined;
          throw error;
        }
      },
    };
  };
}
