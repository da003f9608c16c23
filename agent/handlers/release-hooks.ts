import { join } from 'node:path';
import type { Clock } from '../../shared/base/clock.ts';
import { WardcastError } from '../../shared/base/errors.ts';
import { CHECK_RETRY } from '../../shared/base/limits.ts';
import type { Log } from '../../shared/base/log.ts';
import { type HookName, hookError, hookTimeout, runHook, TRY_AGAIN } from './hooks.ts';
import type { AcceptedRelease, InstalledRelease } from './install-handler.ts';
import { type Layout, releaseDirectory } from './layout.ts';

type Owner = Pick<AcceptedRelease, 'manifest' | 'manifestHash'>;

/**
 * The hooks of a release, each an executable of it, run in its own directory. All may be run again after a power cut and must bear it.
 *
 *   preActivate   before the swap; exit 75: not now, ask again later
 *   postActivate  after the swap; also of the old release when it has come back
 *   check         is it healthy? exit 75: not yet, asked again every second until its time is up
 *   rollback      before the swap back; its failure is logged and stops nothing
 *
 * Exit 0 is success, anything else failure. `other` is what WARDCAST_PREVIOUS_* names: the release that ran before, or, where the old
 * release comes back, the one that went.
 */
export class ReleaseHooks {
  readonly #log: Log;
  readonly #clock: Clock;

  constructor(options: { readonly log: Log; readonly clock: Clock }) {
    this.#log = options.log;
    this.#clock = options.clock;
  }

  /** @throws HOOK_FAILED, HOOK_TIMEOUT, CHECK_FAILED, BUSY when preActivate asks for a later moment, ABORTED */
  async run(
    name: HookName,
    layout: Layout,
    { manifest, manifestHash }: Owner,
    other: InstalledRelease | undefined,
    signal: AbortSignal | undefined,
  ): Promise<void> {
    const hook = manifest.hooks[name];
    if (hook === undefined) return;
    const directory = releaseDirectory(layout, manifestHash);
    const environment = {
      WARDCAST_HOOK: name,
      WARDCAST_APPLICATION: layout.application,
      WARDCAST_VERSION: manifest.version,
      WARDCAST_RELEASE_DIR: directory,
      WARDCAST_PREVIOUS_VERSION: other?.version ?? '',
      WARDCAST_PREVIOUS_DIR: other === undefined ? '' : releaseDirectory(layout, other.manifestHash),
    };
    const until = this.#clock.monotonic() + hookTimeout(hook.timeoutMs);
    for (;;) {
      const timeoutMs = Math.max(1, Math.ceil(until - this.#clock.monotonic()));
      const end = await runHook({ name, file: join(directory, hook.path), timeoutMs, directory, signal, environment });
      this.#log.debug('install.hook', { application: layout.application, version: manifest.version, hook: name, exit: end.exit });
      if (end.exit === 0) return;
      if (name === 'preActivate' && end.exit === TRY_AGAIN) {
        const said = end.output.trim();
        throw new WardcastError('BUSY', `${layout.application} ${manifest.version} asks to be activated later${said === '' ? '' : `: ${said}`}`);
      }
      if (name !== 'check' || end.exit !== TRY_AGAIN || this.#clock.monotonic() + CHECK_RETRY >= until) throw hookError(name, end, hook.timeoutMs);
      await this.#clock.sleep(CHECK_RETRY, { signal });
    }
  }

  /** As run(), but a failure is only logged: a rollback goes on whatever its hooks say, the old version is the safer one. */
  async tryRun(name: HookName, layout: Layout, owner: Owner, other: InstalledRelease | undefined, signal: AbortSignal | undefined): Promise<void> {
    try {
      await this.run(name, layout, owner, other, signal);
    } catch (error) {
      if (signal?.aborted) throw error;
      this.#log.warn('install.hook-failed', { application: layout.application, version: owner.manifest.version, hook: name, error });
    }
  }
}
