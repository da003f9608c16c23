import type { Clock } from '../shared/base/clock.ts';
import { toWardcastError } from '../shared/base/errors.ts';
import { type Scope, scopePath } from '../shared/base/identity.ts';
import { PLAN_DEBOUNCE } from '../shared/base/limits.ts';
import type { Log } from '../shared/base/log.ts';
import type { Content, DeviceSnapshot, GroupSnapshot, Plan, PublishedRelease } from './plan.ts';
import { plan } from './plan.ts';
import type { LogEntry } from './record/log.ts';
import type { Registry } from './registry/registry.ts';
import { type DeviceRow, keys, prefixes, type Standing } from './registry/rows.ts';

export interface PlannerParts {
  readonly registry: Registry;
  readonly assign: (scope: Scope, content: Content) => Promise<unknown>;
  readonly offer: (scope: Scope) => Promise<void>;
  readonly clock: Clock;
  readonly log: Log;
  readonly signal: AbortSignal;
}

/** What has to be looked at again: whole groups, or single devices of one. */
interface Dirty {
  readonly scope: Scope;
  /** Undefined: all devices. */
  devices: Set<string> | undefined;
}

/** Looks at the plan again when something changed that it depends on. Nothing is polled. */
export class Planner {
  readonly #parts: PlannerParts;
  readonly #releases = new Map<string, Map<string, PublishedRelease>>();
  #dirty = new Map<string, Dirty>();
  /** Changes whose groups are to be found out: `customer/group`, or everything. */
  #wide = new Set<string | undefined>();
  #releasesStale = true;
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
      case 'device-moved':
        this.look(change, change.device);
        return;
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
    while (this.#dirty.size > 0 || this.#wide.size > 0) {
      try {
        await clock.sleep(PLAN_DEBOUNCE, { signal });
      } catch {
        // Stopping: the next start looks at everything.
        return;
      }
      try {
        await this.#act(plan(await this.#snapshot()));
      } catch (error) {
        log.error('plan.failed', { error: toWardcastError(error) });
      }
    }
  }

  async #act({ bundles, offers, due }: Plan): Promise<void> {
    const { assign, offer, log } = this.#parts;
    if (due.length > 0) log.info('plan.due', { devices: due.length, bundles: bundles.length, offers: offers.length });
    for (const { customer, site, group, ...content } of bundles) {
      const scope: Scope = { customer, site, group };
      try {
        await assign(scope, content);
        await offer(scope);
      } catch (error) {
        // One group's trouble (a role that expired, say) must not keep the others waiting.
        log.error('bundle.failed', { ...scope, error: toWardcastError(error) });
      }
    }
    for (const scope of offers) await offer(scope);
  }

  async #snapshot(): Promise<{ groups: GroupSnapshot[]; releases: ReadonlyMap<string, ReadonlyMap<string, PublishedRelease>> }> {
    const wide = this.#wide;
    this.#wide = new Set();
    for (const which of wide) await this.#widen(which);
    const dirty = this.#dirty;
    this.#dirty = new Map();
    if (this.#releasesStale) await this.#readReleases();
    const groups: GroupSnapshot[] = [];
    for (const { scope, devices } of dirty.values()) groups.push(await this.#group(scope, devices));
    return { groups, releases: this.#releases };
  }

  async #widen(which: string | undefined): Promise<void> {
    const { registry } = this.#parts;
    const [customer, group] = which?.split('/') ?? [];
    for await (const row of registry.list(prefixes.bundles(customer))) if (group === undefined || row.group === group) this.#mark(row, undefined);
    for await (const row of registry.list(prefixes.members(customer))) if (group === undefined || row.group === group) this.#mark(row, undefined);
  }

  async #readReleases(): Promise<void> {
    this.#releasesStale = false;
    this.#releases.clear();
    for await (const { application, version, manifest, manifestSize, withdrawn } of this.#parts.registry.list(prefixes.releases())) {
      const versions = this.#releases.get(application) ?? new Map<string, PublishedRelease>();
      versions.set(version, { manifest, size: manifestSize, withdrawn: withdrawn !== null });
      this.#releases.set(application, versions);
    }
  }

  async #group(scope: Scope, names: ReadonlySet<string> | undefined): Promise<GroupSnapshot> {
    const { registry } = this.#parts;
    const devices: DeviceSnapshot[] = [];
    for await (const row of this.#members(scope, names)) devices.push(deviceSnapshot(row.device, await registry.get(keys.standing(row.customer, row.device))));
    return {
      ...scope,
      currents: (await registry.get(keys.current(scope.customer, scope.group))) ?? [],
      assigned: await registry.get(keys.bundle(scope)),
      devices,
    };
  }

  async *#members(scope: Scope, names: ReadonlySet<string> | undefined): AsyncGenerator<DeviceRow> {
    const { registry } = this.#parts;
    if (names === undefined) {
      yield* registry.list(prefixes.members(scope.customer, scope.site, scope.group));
      return;
    }
    for (const name of names) {
      const row = await registry.get(keys.member(scope, name));
      if (row !== undefined) yield row;
    }
  }
}

/** What a device runs, as the plan sees it. */
export function deviceSnapshot(device: string, standing: Standing | undefined): DeviceSnapshot {
  if (standing === undefined) return { device, running: undefined };
  return { device, running: new Map(standing.running.flatMap((row) => (row.manifest === null ? [] : [[row.application, row.manifest] as const]))) };
}
