import type { Clock } from '../../shared/base/clock.ts';
import { WardcastError } from '../../shared/base/errors.ts';
import type { Scope } from '../../shared/base/identity.ts';
import { ASSIGNMENT_LIFETIME_DAYS, BUNDLES_SERVED, SNAPSHOT_LIFETIME_DAYS, TIMESTAMP_LIFETIME_DAYS, TIMESTAMP_RENEW_BEFORE } from '../../shared/base/limits.ts';
import type { Log } from '../../shared/base/log.ts';
import { type Bundle, type BundleRelease, parseBundle } from '../../shared/bundle/bundle.ts';
import { sha256 } from '../../shared/bundle/digest.ts';
import { groupKeyCommitment, wrapContentKey } from '../../shared/bundle/group-key.ts';
import { buildGroupRepository, daysFrom, type GroupRepository, type OnlineKeys, renewTimestamp } from '../../shared/trust/repository.ts';
import type { ChosenPatches } from '../patch/patches.ts';
import type { Content } from '../plan.ts';
import type { Registry } from '../registry/registry.ts';
import { keys } from '../registry/rows.ts';
import type { KeyVault } from '../secrecy/vault.ts';
import type { ChunkIndex } from './chunk-index.ts';
import type { Generation, Repositories, StoredRepository } from './repositories.ts';
import type { OfflineMetadata } from './trust-directory.ts';

export interface AssignerParts {
  readonly registry: Registry;
  readonly repositories: Repositories;
  readonly keys: OnlineKeys;
  /** Where the content keys of encrypted releases are, and which of them a manifest names. */
  readonly vault: Pick<KeyVault, 'contentKey' | 'groupKey'>;
  readonly index: Pick<ChunkIndex, 'get'>;
  readonly offline: () => OfflineMetadata;
  /** The provider's identity path: it is the actor of its own decisions. */
  readonly actor: string;
  readonly clock: Clock;
  readonly log: Log;
}

/** Turns a plan's content into a signed bundle that is on the log. One call at a time per group. */
export class Assigner {
  readonly #parts: AssignerParts;

  constructor(parts: AssignerParts) {
    this.#parts = parts;
  }

  /** Signs and records the group's next bundle. Resolves when it is durable, and not before may it be offered. */
  async assign(scope: Scope, content: Content, patches: ChosenPatches = new Map()): Promise<Bundle> {
    const { registry, repositories, actor, log } = this.#parts;
    const previous = await repositories.get(scope);
    const sequence = Math.max(previous?.sequence ?? 0, (await registry.get(keys.bundle(scope)))?.sequence ?? 0) + 1;
    const { releases } = await this.#wrapped(scope, content);
    const bundle: Bundle = { format: 1, ...scope, sequence, ...content, releases: releases.map((release) => withPatches(release, patches)) };
    const built = await this.#build(bundle, previous);
    const bundleHash = [...built.targets.keys()][0] ?? '';
    const stored = this.#stored(bundle, bundleHash, built, previous);
    // Power cut here? Nothing was told to anybody; the plan finds the same group due at the next start.
    await registry.transact(actor, () => ({
      result: undefined,
      change: {
        type: 'bundle-assigned',
        ...scope,
        sequence,
        bundle: bundleHash,
        releases: [...content.releases],
        withdrawn: [...content.withdrawn],
        ...(content.revoked === undefined ? {} : { revoked: [...content.revoked] }),
        ...(content.oldestCa === undefined ? {} : { oldestCa: content.oldestCa }),
        ...(content.groupKey === undefined ? {} : { groupKey: content.groupKey }),
      },
      blobs: blobsOf(built),
      notes: [repositories.write(stored)],
    }));
    repositories.published(stored);
    log.info('bundle.assigned', { ...scope, sequence, releases: content.releases.map((release) => `${release.application} ${release.version}`) });
    return bundle;
  }

  /** The releases with their content keys under the group's key. @throws CONTENT_KEY_ABSENT, KEY_UNUSABLE */
  async #wrapped(scope: Scope, { releases, groupKey: ref }: Content): Promise<Pick<Bundle, 'releases'>> {
    const { vault, index } = this.#parts;
    if (ref === undefined) return { releases };
    const groupKey = await vault.groupKey(scope, ref.epoch);
    if (groupKey === undefined || groupKeyCommitment(groupKey) !== ref.commitment)
      throw new WardcastError('KEY_UNUSABLE', `The key of epoch ${ref.epoch} of group ${scope.customer}/${scope.group} was lost meanwhile`);
    const wrap = async (release: BundleRelease): Promise<BundleRelease> => {
      const { contentKeys } = await index.get(release.manifest);
      if (contentKeys.length === 0) return release;
      return { ...release, keys: await Promise.all(contentKeys.map(async (id) => wrapContentKey(await vault.contentKey(id), groupKey))) };
    };
    return { releases: await Promise.all(releases.map(wrap)) };
  }

  /** Are the newest root and targets of the ceremony among what this group is served? */
  holdsCeremony({ generations }: StoredRepository): boolean {
    const { newestRoot, targets } = this.#parts.offline();
    const served = new Set(Object.values(generations[0]?.files ?? {}));
    return [newestRoot, targets].every((bytes) => served.has(sha256(bytes)));
  }

  /** Signs anew what would expire within TIMESTAMP_RENEW_BEFORE, or all after a ceremony. True: there is something to offer. */
  async renew(previous: StoredRepository): Promise<boolean> {
    const { registry, repositories, clock, actor, log } = this.#parts;
    const now = new Date(clock.now());
    const soon = now.getTime() + TIMESTAMP_RENEW_BEFORE;
    const { expires } = previous;
    // After a ceremony the old online keys may be a thief's: devices have to hear of the new root now, not with the next release.
    const outdated = !this.holdsCeremony(previous);
    if (!outdated && Math.min(expires.assignment, expires.snapshot, expires.timestamp) > soon) return false;
    const restamp = !outdated && Math.min(expires.assignment, expires.snapshot) > soon;
    const renewed = restamp ? this.#restamp(previous, now) : await this.#resign(previous);
    await registry.transact(actor, () => ({ result: undefined, blobs: renewed.blobs, notes: [repositories.write(renewed.stored)] }));
    repositories.published(renewed.stored);
    log.info('metadata.renewed', { customer: previous.customer, site: previous.site, group: previous.group, timestamp: renewed.stored.versions.timestamp });
    return true;
  }

  #restamp(previous: StoredRepository, now: Date): { stored: StoredRepository; blobs: Map<string, Buffer> } {
    const { file, versions } = renewTimestamp({ scope: scopeOf(previous), previous: previous.versions, key: this.#parts.keys.timestamp, now });
    const hash = sha256(file);
    const [newest, ...older] = previous.generations;
    const generations = newest === undefined ? [] : [{ ...newest, files: { ...newest.files, 'timestamp.json': hash } }, ...older];
    const expires = { ...previous.expires, timestamp: daysFrom(now, TIMESTAMP_LIFETIME_DAYS).getTime() };
    return { stored: { ...previous, versions, expires, generations }, blobs: new Map([[hash, file]]) };
  }

  async #resign(previous: StoredRepository): Promise<{ stored: StoredRepository; blobs: Map<string, Buffer> }> {
    const bundleHash = previous.generations[0]?.bundle ?? '';
    const bytes = await this.#parts.repositories.content(bundleHash);
    if (bytes === undefined)
      throw new WardcastError('METADATA_MISSING', `The bundle ${bundleHash} is not in the registry`, {
        remedy: 'Check the registry with `wardcast registry rebuild --check`.',
      });
    const bundle = parseBundle(bytes);
    const built = await this.#build(bundle, previous);
    return { stored: this.#stored(bundle, bundleHash, built, previous), blobs: blobsOf(built) };
  }

  async #build(bundle: Bundle, previous: StoredRepository | undefined): Promise<GroupRepository> {
    const { keys: online, offline, clock } = this.#parts;
    const { roots, targets } = offline();
    const releaseRoles = new Map<string, Buffer>();
    for (const { application } of bundle.releases) releaseRoles.set(application, await this.#role(application));
    return buildGroupRepository({ previous: previous?.versions, bundle, root: roots, targets, releaseRoles, keys: online, now: new Date(clock.now()) });
  }

  async #role(application: string): Promise<Buffer> {
    const row = await this.#parts.registry.get(keys.role(application));
    const bytes = row === undefined ? undefined : await this.#parts.registry.blob(row.sha256);
    if (bytes === undefined)
      throw new WardcastError('METADATA_MISSING', `The signed role of ${application} is not in the registry`, {
        remedy: `Publish a release of ${application} again.`,
      });
    return bytes;
  }

  #stored(bundle: Bundle, bundleHash: string, built: GroupRepository, previous: StoredRepository | undefined): StoredRepository {
    const now = new Date(this.#parts.clock.now());
    const generation: Generation = {
      sequence: bundle.sequence,
      bundle: bundleHash,
      files: Object.fromEntries([...built.files].map(([name, bytes]) => [name, sha256(bytes)])),
      manifests: bundle.releases.map((release) => release.manifest),
      ...(bundle.groupKey === undefined ? {} : { epoch: bundle.groupKey.epoch }),
      ...patchManifests(bundle),
    };
    return {
      ...scopeOf(bundle),
      sequence: bundle.sequence,
      versions: built.versions,
      expires: {
        assignment: daysFrom(now, ASSIGNMENT_LIFETIME_DAYS).getTime(),
        snapshot: daysFrom(now, SNAPSHOT_LIFETIME_DAYS).getTime(),
        timestamp: daysFrom(now, TIMESTAMP_LIFETIME_DAYS).getTime(),
      },
      generations: [generation, ...(previous?.generations ?? [])].slice(0, BUNDLES_SERVED),
    };
  }
}

function blobsOf(built: GroupRepository): Map<string, Buffer> {
  return new Map([...built.targets, ...[...built.files.values()].map((bytes): [string, Buffer] => [sha256(bytes), bytes])]);
}

function withPatches(release: BundleRelease, chosen: ChosenPatches): BundleRelease {
  const patches = chosen.get(release.manifest) ?? [];
  return patches.length === 0 ? release : { ...release, patches };
}

function patchManifests({ releases }: Bundle): Pick<Generation, 'patches'> {
  const patches = releases.flatMap((release) => release.patches ?? []).map(({ manifest }) => manifest);
  return patches.length === 0 ? {} : { patches };
}

function scopeOf({ customer, site, group }: Scope): Scope {
  return { customer, site, group };
}
