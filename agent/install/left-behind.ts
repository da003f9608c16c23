import { z } from 'zod';
import { scopePath } from '../../shared/base/identity.ts';
import type { Log } from '../../shared/base/log.ts';
import type { Bundle } from '../../shared/bundle/bundle.ts';
import type { State } from '../../shared/store/state.ts';
import { Table } from '../../shared/store/table.ts';
import type { InstallHandler } from '../handlers/install-handler.ts';

export interface LeftBehindOptions {
  readonly state: State;
  readonly handler: Pick<InstallHandler, 'remove'>;
  /** `keep`: they run on until somebody removes them; `remove`: this device does, as soon as its new group's bundle is verified. */
  readonly policy: 'keep' | 'remove';
  /** Applications that the installer still has to settle: they are left alone for now. */
  readonly unsettled: () => Promise<readonly string[]>;
  readonly log: Log;
}

/**
 * Applications that came by the bundle of a group to which this device no longer belongs. Remembers by whose bundle each came; what was installed by
 * hand, and what this group's bundle stopped naming, is not its business.
 */
export class LeftBehind {
  readonly #o: LeftBehindOptions;
  /** By application: the path of the scope whose bundle named it last. */
  readonly #origins: Table<string>;

  constructor(options: LeftBehindOptions) {
    this.#o = options;
    this.#origins = new Table(options.state, 'origin', z.string());
  }

  /** Acts on a verified bundle of this device's own scope. @returns applications that it removed */
  async settle(bundle: Bundle, signal?: AbortSignal): Promise<string[]> {
    const { handler, policy, log } = this.#o;
    const origins = new Map<string, string>();
    for await (const [application, origin] of this.#origins.entries()) origins.set(application, origin);
    const { kept, left } = sortOrigins(bundle, origins);
    const news = kept.filter((application) => origins.get(application) !== scopePath(bundle));
    if (news.length > 0) await this.#origins.change({ put: news.map((application) => [application, scopePath(bundle)] as const), delete: [] });
    if (policy === 'keep') return [];
    const unsettled = new Set(await this.#o.unsettled());
    const removed: string[] = [];
    for (const application of left.filter((name) => !unsettled.has(name))) {
      await handler.remove(application, signal === undefined ? {} : { signal });
      // Last: a removal that was cut short is done again.
      await this.#origins.delete(application);
      log.info('install.left-behind-removed', { application, came: origins.get(application), now: scopePath(bundle) });
      removed.push(application);
    }
    return removed;
  }
}

/** Which applications are this scope's now, and which came by another one's bundle and are nobody's here. Pure. */
export function sortOrigins(bundle: Bundle, origins: ReadonlyMap<string, string>): { kept: string[]; left: string[] } {
  const kept = bundle.releases.map(({ application }) => application);
  const own = scopePath(bundle);
  return { kept, left: [...origins].filter(([application, origin]) => origin !== own && !kept.includes(application)).map(([application]) => application) };
}
