import type { Clock } from '../../shared/base/clock.ts';
import { toWardcastError } from '../../shared/base/errors.ts';
import { type Scope, scopePath } from '../../shared/base/identity.ts';
import { MAX_RELEASE_PATCHES, PATCH_WAIT } from '../../shared/base/limits.ts';
import type { Log } from '../../shared/base/log.ts';
import { type Bundle, type BundlePatch, type BundleRelease, parseBundle } from '../../shared/bundle/bundle.ts';
import type { ChunkIndex } from '../deliver/chunk-index.ts';
import type { Repositories } from '../deliver/repositories.ts';
import type { Content, DeviceSnapshot } from '../plan.ts';
import type { Registry } from '../registry/registry.ts';
import { prefixes } from '../registry/rows.ts';
import { readGroup, surveyGroups } from '../survey.ts';
import { basesOf, lackingBytes, worthwhile } from './choose.ts';
import type { Made, Workshop } from './workshop.ts';

export interface PatchesOptions {
  readonly workshop: Pick<Workshop, 'known' | 'make'>;
  readonly registry: Registry;
  readonly repositories: Repositories;
  readonly index: Pick<ChunkIndex, 'chunks'>;
  /** Looks at a group again, which waits for patches. */
  readonly again: (scope: Scope) => void;
  readonly clock: Clock;
  readonly log: Log;
  readonly signal: AbortSignal;
}

/** By manifest hash of the release: its patches. */
export type ChosenPatches = ReadonlyMap<string, readonly BundlePatch[]>;

/** Which patches a group's next bundle brings along. */
export class Patches {
  readonly #o: PatchesOptions;
  /** Until when a group waits for the patches of a release, in the clock's monotonic milliseconds. */
  readonly #waits = new Map<string, number>();

  constructor(options: PatchesOptions) {
    this.#o = options;
  }

  /**
   * Chosen once, when a release is assigned to a group for the first time, and kept as long as it stays: whoever comes later has the gateway fetch what it
   * lacks. `later`: some are being made; `again` is called when they are, or when that takes too long. Who is to be kept out never waits for patches.
   */
  async of(scope: Scope, content: Content): Promise<ChosenPatches | 'later'> {
    try {
      return await this.#of(scope, content);
    } catch (error) {
      // A bundle goes without them rather than not at all.
      this.#o.log.error('patch.not-chosen', { ...scope, error: toWardcastError(error) });
      return new Map();
    }
  }

  async #of(scope: Scope, content: Content): Promise<ChosenPatches | 'later'> {
    const { log } = this.#o;
    const previous = await this.#previous(scope);
    const chosen = new Map<string, readonly BundlePatch[]>();
    const missing: Promise<void>[] = [];
    let devices: readonly DeviceSnapshot[] | undefined;
    for (const release of content.releases) {
      const before = previous?.releases.find(({ manifest }) => manifest === release.manifest);
      const kept = before?.patches;
      if (kept !== undefined) chosen.set(release.manifest, kept);
      if (before !== undefined) continue;
      devices ??= await this.#devices(scope);
      const found = await this.#choose(release, basesOf(devices, release));
      if ('patches' in found) chosen.set(release.manifest, found.patches);
      else if ('making' in found) missing.push(found.making);
    }
    const name = `${scopePath(scope)} ${content.releases.map(({ manifest }) => manifest).join(' ')}`;
    if (missing.length === 0 || isUrgent(previous, content)) {
      this.#waits.delete(name);
      return chosen;
    }
    const now = this.#o.clock.monotonic();
    const until = this.#waits.get(name);
    if (until !== undefined && now >= until) {
      this.#waits.delete(name);
      log.info('patch.not-waited-for', { ...scope, patches: missing.length });
      return chosen;
    }
    if (until === undefined) {
      this.#waits.set(name, now + PATCH_WAIT);
      log.info('patch.awaited', { ...scope, patches: missing.length });
      void this.#comeBack(scope, name, missing);
    }
    return 'later';
  }

  /** A release was published: patches from what groups run are made before anybody waits for them. */
  async prepare(application: string, manifest: string): Promise<void> {
    const { registry, workshop, log } = this.#o;
    try {
      const groups = new Map<string, number>();
      for await (const { releases } of registry.list(prefixes.bundles())) {
        for (const release of releases) {
          if (release.application === application && release.manifest !== manifest) groups.set(release.manifest, (groups.get(release.manifest) ?? 0) + 1);
        }
      }
      const most = [...groups].sort((a, b) => b[1] - a[1]).slice(0, MAX_RELEASE_PATCHES);
      for (const [from] of most) void workshop.make(from, manifest);
    } catch (error) {
      // They are made when they are needed.
      log.warn('patch.not-prepared', { application, manifest, error: toWardcastError(error) });
    }
  }

  async #choose(
    release: BundleRelease,
    bases: readonly string[],
  ): Promise<{ patches: readonly BundlePatch[] } | { making: Promise<void> } | Record<never, never>> {
    const { workshop, index } = this.#o;
    const made: Made[] = [];
    const making: Promise<void>[] = [];
    for (const base of bases) {
      const known = await workshop.known(base, release.manifest);
      if (known === 'none') return {};
      if (known === undefined) making.push(workshop.make(base, release.manifest));
      else made.push(known);
    }
    if (making.length > 0) return { making: Promise.all(making).then(() => undefined) };
    if (made.length === 0) return {};
    const lacking = lackingBytes(await index.chunks(release.manifest), await Promise.all(bases.map((base) => index.chunks(base))));
    const bytes = made.map((patch) => patch.bytes);
    if (!worthwhile(bytes, lacking)) return {};
    return { patches: made.map(({ from, manifest, manifestSize }) => ({ from, manifest, size: manifestSize })) };
  }

  async #comeBack(scope: Scope, name: string, missing: readonly Promise<void>[]): Promise<void> {
    const { clock, signal, again } = this.#o;
    const enough = new AbortController();
    await Promise.race([Promise.all(missing), clock.sleep(PATCH_WAIT, { signal: AbortSignal.any([signal, enough.signal]) }).catch(() => undefined)]);
    enough.abort();
    if (signal.aborted) return;
    // Whatever is not there by now is not waited for.
    this.#waits.set(name, Number.NEGATIVE_INFINITY);
    again(scope);
  }

  async #previous(scope: Scope): Promise<Bundle | undefined> {
    const { repositories } = this.#o;
    const hash = (await repositories.get(scope))?.generations[0]?.bundle;
    const bytes = hash === undefined ? undefined : await repositories.content(hash);
    return bytes === undefined ? undefined : parseBundle(bytes);
  }

  async #devices({ customer, site, group }: Scope): Promise<readonly DeviceSnapshot[]> {
    return readGroup((await surveyGroups(this.#o.registry, customer, group, site)).flatMap(({ rows }) => rows));
  }
}

/** Somebody is to be kept out, or something is not to be activated any more. */
function isUrgent(previous: Bundle | undefined, { revoked, oldestCa, withdrawn, groupKey }: Content): boolean {
  const said = (content: Pick<Content, 'revoked' | 'oldestCa' | 'withdrawn' | 'groupKey'>): string =>
    JSON.stringify([content.revoked ?? [], content.oldestCa ?? 0, content.withdrawn, content.groupKey?.epoch ?? 0]);
  return said({ revoked, oldestCa, withdrawn, groupKey }) !== said(previous ?? { withdrawn: [] });
}
