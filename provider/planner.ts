import type { Clock } from '../shared/base/clock.ts';
import { toWardcastError } from '../shared/base/errors.ts';
import { type Scope, scopePath } from '../shared/base/identity.ts';
import { PLAN_DEBOUNCE, PLAN_RETRY_MAX, PLAN_RETRY_MIN } from '../shared/base/limits.ts';
import type { Log } from '../shared/base/log.ts';
import type { GroupKeyRef } from '../shared/bundle/bundle.ts';
import type { Content, DeviceSnapshot, GroupSnapshot, Plan, PublishedRelease } from './plan.ts';
import { needsGroupKey, plan } from './plan.ts';
import type { LogEntry } from './record/log.ts';
import { epochKeys, epochOf } from './registry/epochs.ts';
import type { Registry } from './registry/registry.ts';
import { type RevokedRow, revokedKeys, stillNames } from './registry/revoked.ts';
import { keys, prefixes, type Standing } from './registry/rows.ts';
import { runningOf } from './registry/runs.ts';
import { readGroup, surveyGroups } from './survey.ts';

export interface PlannerParts {
  readonly registry: Registry;
  readonly assign: (scope: Scope, content: Content) => Promise<unknown>;
  readonly offer: (scope: Scope) => Promise<void>;
  /** The key of a group in an epoch, made durable if there is none yet. */
  readonly groupKey: (scope: Scope, epoch: number) => Promise<GroupKeyRef>;
  readonly clock: Clock;
  readonly log: Log;
  /** In [0, 1); spreads retries. */
  readonly random?: () => number;
  readonly signal: AbortSignal;
}

/** What has to be looked at again: whole groups, or single devices of one. */
interface Dirty {
  readonly scope: Scope;
  /** Undefined: all devices. */
  devices: Set<string> | undefined;
}

/** Looks at the plan again when something changed that it depends on, or when something failed. Nothing is polled. */
export class Planner {
  readonly #parts: PlannerParts;
  readonly #releases = new Map<string, Map<string, PublishedRelease>>();
  #dirty = new Map<string, Dirty>();
  /** Changes whose groups are to be found out: `customer/group`, all of `customer`, or everything. */
  #wide = new Set<string | undefined>();
  #releasesStale = true;
  /** Attempts in a row that failed, by group, and the groups that wait for the next one. */
  readonly #failures = new Map<string, number>();
  readonly #waiting = new Set<string>();
  #running: Promise<void> | undefined;

  constructor(parts: PlannerParts) {
    this.#parts = parts;
  }

  /** The whole plan once: what happened before the last stop may never have been looked at. */
  start(): void {
    this.#wide.add(undefined);
    this.#kick();
  }

  /** Feed it every entry of the log. */
  changed({ change }: LogEntry): void {
    switch (change.type) {
      case 'device-added':
        this.look(change, change.device);
        return;
      case 'device-moved':
        if (change.from !== undefined) this.#mark({ customer: change.customer, ...change.from }, undefined);
        this.look(change, change.device);
        return;
      case 'device-revoked':
        this.#mark(change, undefined);
        break;
      // Of which group it was a device only the row said: all of the customer's are looked at.
      case 'device-removed':
      case 'gateway-revoked':
        this.#wide.add(change.customer);
        break;
      case 'group-key-rotated':
        if (change.site === null) this.#wide.add(`${change.customer}/${change.group}`);
        else this.#mark({ customer: change.customer, site: change.site, group: change.group }, undefined);
        break;
      case 'ca-retired':
        this.#wide.add(`${change.customer}/${change.group}`);
        break;
      case 'release-published':
        this.#releasesStale = true;
        return;
      case 'release-withdrawn':
        this.#releasesStale = true;
        this.#wide.add(undefined);
        break;
      case 'current-set':
        if (change.site === null) this.#wide.add(`${change.customer}/${change.group}`);
        else this.#mark({ customer: change.customer, site: change.site, group: change.group }, undefined);
        break;
      default:
        return;
    }
    this.#kick();
  }

  /** One device said or became something that may differ from what it shall run. */
  look(scope: Scope, device: string): void {
    this.#mark(scope, device);
    this.#kick();
  }

  /** Looks at a whole group again. */
  again(scope: Scope): void {
    this.#mark(scope, undefined);
    this.#kick();
  }

  /** Resolves when all that is known of now has been acted upon. */
  async settled(): Promise<void> {
    while (this.#running !== undefined) await this.#running;
  }

  #mark({ customer, site, group }: Scope, device: string | undefined): void {
    const scope: Scope = { customer, site, group };
    const name = scopePath(scope);
    const known = this.#dirty.get(name);
    if (known === undefined) this.#dirty.set(name, { scope, devices: device === undefined ? undefined : new Set([device]) });
    else if (device === undefined) known.devices = undefined;
    else known.devices?.add(device);
  }

  #kick(): void {
    if (this.#parts.signal.aborted) return;
    this.#running ??= this.#run().finally(() => {
      this.#running = undefined;
    });
  }

  async #run(): Promise<void> {
    const { clock, log, signal } = this.#parts;
    let failures = 0;
    while (this.#dirty.size > 0 || this.#wide.size > 0) {
      try {
        await clock.sleep(failures === 0 ? PLAN_DEBOUNCE : this.#backoff(failures), { signal });
      } catch {
        // Stopping: the next start looks at everything.
        return;
      }
      try {
        await this.#lookAtAll();
        failures = 0;
      } catch (error) {
        // The registry cannot be read; what was to be looked at still is.
        failures++;
        log.error('plan.failed', { error: toWardcastError(error) });
      }
    }
  }

  /** One group after the other, so that memory holds what one customer's groups run at most. */
  async #lookAtAll(): Promise<void> {
    const sum = { devices: 0, bundles: 0, offers: 0 };
    if (this.#releasesStale) await this.#readReleases();
    for await (const group of this.#snapshots()) {
      const found = plan({ groups: [group], releases: this.#releases });
      sum.devices += found.due.reduce((all, { alike }) => all + alike, 0);
      sum.bundles += found.bundles.length;
      sum.offers += found.offers.length;
      await this.#act(found);
    }
    if (sum.devices > 0) this.#parts.log.info('plan.due', sum);
  }

  async #act({ bundles, offers }: Plan): Promise<void> {
    const { assign, offer } = this.#parts;
    for (const { customer, site, group, ...content } of bundles) {
      const scope: Scope = { customer, site, group };
      await this.#attempt('bundle.failed', scope, async () => {
        // Its patches are being made: this group is looked at again.
        if ((await assign(scope, content)) === 'later') return;
        await offer(scope);
      });
    }
    for (const scope of offers) await this.#attempt('offer.failed', scope, () => offer(scope));
  }

  async #attempt(failed: string, scope: Scope, work: () => Promise<void>): Promise<void> {
    try {
      await work();
      this.#failures.delete(scopePath(scope));
    } catch (error) {
      this.#failed(failed, scope, error);
    }
  }

  /** One group's trouble (a role that expired, say) must not keep the others waiting; the group itself is looked at again later. */
  #failed(event: string, { customer, site, group }: Scope, error: unknown): void {
    const scope: Scope = { customer, site, group };
    const name = scopePath(scope);
    const failures = (this.#failures.get(name) ?? 0) + 1;
    this.#failures.set(name, failures);
    this.#parts.log.error(event, { ...scope, error: toWardcastError(error) });
    if (!this.#waiting.has(name)) void this.#lookLater(scope, name, failures);
  }

  async #lookLater(scope: Scope, name: string, failures: number): Promise<void> {
    const { clock, signal } = this.#parts;
    this.#waiting.add(name);
    try {
      await clock.sleep(this.#backoff(failures), { signal });
    } catch {
      // Stopping: the next start looks at everything.
      return;
    }
    this.#waiting.delete(name);
    this.#mark(scope, undefined);
    this.#kick();
  }

  #backoff(failures: number): number {
    const { random = Math.random } = this.#parts;
    return Math.min(PLAN_RETRY_MAX, PLAN_RETRY_MIN * 2 ** Math.min(16, failures - 1)) * (0.5 + random() / 2);
  }

  async *#snapshots(): AsyncGenerator<GroupSnapshot> {
    // All groups are the others too, as long as nothing of them was looked at yet.
    if (this.#wide.has(undefined)) this.#wide = new Set([undefined]);
    for (const which of this.#wide) {
      // First out, then looked at: a change that comes meanwhile is looked at once more.
      this.#wide.delete(which);
      try {
        yield* this.#wideSnapshots(which);
      } catch (error) {
        this.#wide.add(which);
        throw error;
      }
    }
    const dirty = this.#dirty;
    this.#dirty = new Map();
    for (const { scope, devices } of dirty.values()) {
      const group = await this.#group(scope, () => this.#named(scope, devices));
      if (group !== undefined) yield group;
    }
  }

  /** All groups, or one group of a customer at all its sites. */
  async *#wideSnapshots(which: string | undefined): AsyncGenerator<GroupSnapshot> {
    const { registry } = this.#parts;
    const [only, group] = which?.split('/') ?? [];
    const customers: string[] = [];
    if (only === undefined) for await (const { customer } of registry.list(prefixes.customers())) customers.push(customer);
    else customers.push(only);
    for (const customer of customers) {
      for (const { scope, rows } of await surveyGroups(registry, customer, group)) {
        const found = await this.#group(scope, async () => readGroup(rows));
        if (found !== undefined) yield found;
      }
    }
  }

  async #readReleases(): Promise<void> {
    this.#releasesStale = false;
    this.#releases.clear();
    try {
      for await (const { application, version, manifest, manifestSize, contentKeys, withdrawn } of this.#parts.registry.list(prefixes.releases())) {
        const versions = this.#releases.get(application) ?? new Map<string, PublishedRelease>();
        versions.set(version, { manifest, size: manifestSize, withdrawn: withdrawn !== null, contentKeys });
        this.#releases.set(application, versions);
      }
    } catch (error) {
      this.#releasesStale = true;
      throw error;
    }
  }

  /** Undefined when its customer is retired, or when it cannot be read: then it is looked at again later. */
  async #group(scope: Scope, read: () => Promise<readonly DeviceSnapshot[]>): Promise<GroupSnapshot | undefined> {
    const { registry } = this.#parts;
    try {
      if (await this.#isRetired(scope.customer)) return undefined;
      const currents = (await registry.get(keys.current(scope.customer, scope.group))) ?? [];
      return {
        ...scope,
        currents,
        assigned: await registry.get(keys.bundle(scope)),
        devices: await read(),
        ...(await this.#refused(scope)),
        ...(needsGroupKey(currents, scope.site, this.#releases) ? { groupKey: await this.#groupKey(scope) } : {}),
      };
    } catch (error) {
      this.#failed('plan.failed', scope, error);
      return undefined;
    }
  }

  async #groupKey(scope: Scope): Promise<GroupKeyRef> {
    const { registry, groupKey } = this.#parts;
    const rows = { scope: await registry.get(epochKeys.scope(scope)), group: await registry.get(epochKeys.group(scope.customer, scope.group)) };
    return groupKey(scope, epochOf(rows));
  }

  async #isRetired(customer: string): Promise<boolean> {
    return (await this.#parts.registry.get(keys.customer(customer)))?.retired !== undefined;
  }

  async #refused({ customer, site, group }: Scope): Promise<Pick<GroupSnapshot, 'revoked' | 'oldestCa'>> {
    const { registry, clock } = this.#parts;
    const revoked: RevokedRow[] = [];
    for (const below of [`group/${group}`, 'gateway']) {
      for await (const row of registry.list(revokedKeys.within(customer, site, below))) if (stillNames(row, clock.now())) revoked.push(row);
    }
    return { revoked, oldestCa: (await registry.get(revokedKeys.oldestCa(customer, group)))?.generation };
  }

  /** The devices named, as far as they still belong to the group; undefined: all of it. */
  async #named(scope: Scope, names: ReadonlySet<string> | undefined): Promise<readonly DeviceSnapshot[]> {
    const { registry } = this.#parts;
    if (names === undefined) return readGroup((await surveyGroups(registry, scope.customer, scope.group, scope.site)).flatMap(({ rows }) => rows));
    const devices: DeviceSnapshot[] = [];
    for (const name of names) {
      if ((await registry.get(keys.member(scope, name))) === undefined) continue;
      devices.push(deviceSnapshot(name, await registry.get(keys.standing(scope.customer, name))));
    }
    return devices;
  }
}

/** What a device runs, as the plan sees it. */
function deviceSnapshot(device: string, standing: Standing | undefined): DeviceSnapshot {
  return { device, running: standing === undefined ? undefined : new Map(runningOf(standing)) };
}
