import { randomBytes } from 'node:crypto';
import { join } from 'node:path';
import type { Clock } from '../../shared/base/clock.ts';
import { systemClock } from '../../shared/base/clock.ts';
import { WardcastError } from '../../shared/base/errors.ts';
import { isId } from '../../shared/base/identity.ts';
import { MAX_MANIFEST } from '../../shared/base/limits.ts';
import type { Log } from '../../shared/base/log.ts';
import { sha256 } from '../../shared/bundle/digest.ts';
import { type Manifest, parseManifest, printManifest } from '../../shared/bundle/manifest.ts';
import type { ChunkFetcher } from '../../shared/store/chunk-fetcher.ts';
import type { CallOptions } from '../../shared/store/chunk-source.ts';
import {
  type Disk,
  diskError,
  emptyDirectory,
  exists,
  isAbsent,
  makeDirectory,
  namesIn,
  realDisk,
  removeName,
  replaceLink,
  syncDirectory,
  TEMPORARY,
  writeWhole,
} from './disk.ts';
import type { AcceptedRelease, InstalledRelease, InstallHandler, StageOptions } from './install-handler.ts';
import { hashOfLink, type Layout, layoutOf, linkTarget, manifestFile, releaseDirectory, stagingDirectory } from './layout.ts';
import { ReleaseHooks } from './release-hooks.ts';
import { buildTree, isWhole } from './staging.ts';

export interface DirectoryHandlerOptions {
  /** Root of all applications, see layout.ts. */
  readonly install: string;
  readonly log: Log;
  readonly clock?: Clock;
  readonly disk?: Disk;
}

/** A tree on the device with its manifest: what own chunks are read from. */
export interface InstalledTree {
  readonly manifestHash: string;
  readonly manifest: Manifest;
  readonly directory: string;
}

/** Versioned directories and one symbolic link per application that is swapped by rename. */
export class DirectoryHandler implements InstallHandler {
  readonly #install: string;
  readonly #log: Log;
  readonly #hooks: ReleaseHooks;
  readonly #disk: Disk;

  constructor(options: DirectoryHandlerOptions) {
    this.#install = options.install;
    this.#log = options.log;
    this.#hooks = new ReleaseHooks({ log: options.log, clock: options.clock ?? systemClock });
    this.#disk = options.disk ?? realDisk;
  }

  async running(application: string): Promise<InstalledRelease | undefined> {
    return await this.#linked(layoutOf(this.#install, application), 'current');
  }

  async inventory(): Promise<readonly InstalledRelease[]> {
    const found: InstalledRelease[] = [];
    for (const name of (await namesIn(this.#disk, this.#install)).filter(isId).sort()) {
      const running = await this.running(name);
      if (running !== undefined) found.push(running);
    }
    return found;
  }

  /** Every whole tree of an application (of all, when none is named), the newest manifests first: own chunks are read from them. */
  async trees(application?: string): Promise<InstalledTree[]> {
    const applications = application === undefined ? (await namesIn(this.#disk, this.#install)).filter(isId) : [application];
    const trees: InstalledTree[] = [];
    for (const name of applications) {
      const layout = layoutOf(this.#install, name);
      for (const hash of await namesIn(this.#disk, layout.releases)) {
        const manifest = await this.#manifest(layout, hash);
        if (manifest !== undefined) trees.push({ manifestHash: hash, manifest, directory: releaseDirectory(layout, hash) });
      }
    }
    return trees;
  }

  async stage(release: AcceptedRelease, chunks: ChunkFetcher, options: StageOptions = {}): Promise<void> {
    await this.#doing('staging a release', async () => {
      const disk = this.#disk;
      const layout = layoutOf(this.#install, release.application);
      const manifest = canonicalManifest(release);
      await makeDirectory(disk, layout.releases);
      await makeDirectory(disk, layout.manifests);
      await makeDirectory(disk, layout.staging);
      await this.#sweep(layout, release.manifestHash);
      const final = releaseDirectory(layout, release.manifestHash);
      const staging = stagingDirectory(layout, release.manifestHash);
      const runs = (await this.#linkHash(layout, 'current')) === release.manifestHash;
      if (await exists(disk, final)) {
        if (await isWhole(disk, final, release.manifest)) {
          await writeWhole(disk, manifestFile(layout, release.manifestHash), manifest);
          options.onMissing?.(0);
          return;
        }
        // A damaged tree is mended: in the open if it runs (there is nothing better to run), else out of reach of `current`.
        if (!runs) await this.#move(final, staging, layout.releases, layout.staging);
      }
      await buildTree({
        disk,
        directory: runs ? final : staging,
        manifest: release.manifest,
        chunks,
        signal: options.signal,
        onMissing: options.onMissing,
        onStaged: options.onStaged,
      });
      // The manifest first: whatever stands in releases/ has one.
      await writeWhole(disk, manifestFile(layout, release.manifestHash), manifest);
      if (!runs) await this.#move(staging, final, layout.staging, layout.releases);
    });
  }

  async activate(release: AcceptedRelease, options: CallOptions = {}): Promise<void> {
    await this.#doing('activating a release', async () => {
      const layout = layoutOf(this.#install, release.application);
      const current = await this.#linkHash(layout, 'current');
      if (current !== release.manifestHash) {
        const before = await this.#linked(layout, 'current');
        await this.#hooks.run('preActivate', layout, release, before, options.signal);
        if (before === undefined) await removeName(this.#disk, layout.previous);
        else await replaceLink(this.#disk, layout.previous, linkTarget(before.manifestHash));
        await replaceLink(this.#disk, layout.current, linkTarget(release.manifestHash));
      }
      await this.#hooks.run('postActivate', layout, release, await this.#linked(layout, 'previous'), options.signal);
    });
  }

  async check(release: AcceptedRelease, options: CallOptions = {}): Promise<void> {
    const layout = layoutOf(this.#install, release.application);
    if ((await this.running(release.application))?.manifestHash !== release.manifestHash) {
      throw new WardcastError('CHECK_FAILED', `${release.application} ${release.version} is not what runs`);
    }
    await this.#hooks.run('check', layout, release, await this.#linked(layout, 'previous'), options.signal);
  }

  async commit(release: AcceptedRelease): Promise<void> {
    await this.#doing('removing old releases', async () => {
      const layout = layoutOf(this.#install, release.application);
      // The running one and the one before: what a rollback needs, and no more of the device's disk.
      const kept = new Set([release.manifestHash, await this.#linkHash(layout, 'previous')]);
      for (const hash of await namesIn(this.#disk, layout.releases)) if (!kept.has(hash)) await this.#discard(layout, hash);
      await this.#sweep(layout, undefined);
    });
  }

  async rollback(release: AcceptedRelease, previous: InstalledRelease | undefined, options: CallOptions = {}): Promise<void> {
    await this.#doing('rolling a release back', async () => {
      const layout = layoutOf(this.#install, release.application);
      const hash = release.manifestHash;
      if (previous?.manifestHash !== hash && (await exists(this.#disk, releaseDirectory(layout, hash)))) {
        await this.#hooks.tryRun('rollback', layout, release, previous, options.signal);
        await this.#pointAt(layout, previous);
        const manifest = previous === undefined ? undefined : await this.#manifest(layout, previous.manifestHash);
        if (previous !== undefined && manifest !== undefined) {
          await this.#hooks.tryRun('postActivate', layout, { manifest, manifestHash: previous.manifestHash }, release, options.signal);
        }
        // Last: as long as the release stands here, a rollback that was cut short is done again whole.
        await this.#discard(layout, hash);
      }
      await this.#sweep(layout, undefined);
    });
  }

  async remove(application: string, options: CallOptions = {}): Promise<void> {
    await this.#doing('removing an application', async () => {
      const layout = layoutOf(this.#install, application);
      const hash = await this.#linkHash(layout, 'current');
      const manifest = hash === undefined ? undefined : await this.#manifest(layout, hash);
      if (hash !== undefined && manifest !== undefined)
        await this.#hooks.tryRun('rollback', layout, { manifest, manifestHash: hash }, undefined, options.signal);
      // The link first: from here on nothing of it is installed, and what still stands goes at the next attempt if this one is cut short.
      for (const link of [layout.current, layout.previous]) await removeName(this.#disk, link);
      for (const name of await namesIn(this.#disk, layout.releases)) await this.#discard(layout, name);
      await this.#sweep(layout, undefined);
    });
  }

  async #pointAt(layout: Layout, previous: InstalledRelease | undefined): Promise<void> {
    if (previous !== undefined && (await exists(this.#disk, releaseDirectory(layout, previous.manifestHash)))) {
      await replaceLink(this.#disk, layout.current, linkTarget(previous.manifestHash));
      return;
    }
    if (previous !== undefined) this.#log.error('install.previous-gone', { application: layout.application, version: previous.version });
    await removeName(this.#disk, layout.current);
  }

  async #linked(layout: Layout, which: 'current' | 'previous'): Promise<InstalledRelease | undefined> {
    const hash = await this.#linkHash(layout, which);
    const manifest = hash === undefined ? undefined : await this.#manifest(layout, hash);
    if (hash === undefined || manifest === undefined) return undefined;
    return { application: layout.application, version: manifest.version, manifestHash: hash };
  }

  async #linkHash(layout: Layout, which: 'current' | 'previous'): Promise<string | undefined> {
    try {
      return hashOfLink(await this.#disk.readlink(layout[which]));
    } catch (error) {
      if (isAbsent(error)) return undefined;
      throw error;
    }
  }

  /** The manifest beside a release; undefined when it or the tree is missing or it is not what its name says. */
  async #manifest(layout: Layout, hash: string): Promise<Manifest | undefined> {
    let bytes: Buffer;
    try {
      const file = manifestFile(layout, hash);
      if ((await this.#disk.lstat(file)).size > MAX_MANIFEST) return undefined;
      bytes = await this.#disk.readFile(file);
      await this.#disk.lstat(releaseDirectory(layout, hash));
    } catch (error) {
      if (isAbsent(error)) return undefined;
      throw error;
    }
    if (sha256(bytes) !== hash) {
      this.#log.warn('install.manifest-damaged', { application: layout.application, manifest: hash });
      return undefined;
    }
    try {
      const manifest = parseManifest(bytes);
      return manifest.application === layout.application ? manifest : undefined;
    } catch (error) {
      this.#log.warn('install.manifest-unreadable', { application: layout.application, manifest: hash, error });
      return undefined;
    }
  }

  async #move(from: string, to: string, fromParent: string, toParent: string): Promise<void> {
    await this.#disk.rm(to, { recursive: true, force: true });
    await this.#disk.rename(from, to);
    await syncDirectory(this.#disk, toParent);
    await syncDirectory(this.#disk, fromParent);
  }

  /** Out of releases/ in one rename, so that no half-removed tree ever passes for a whole one. */
  async #discard(layout: Layout, hash: string): Promise<void> {
    await makeDirectory(this.#disk, layout.trash);
    await this.#disk.rename(releaseDirectory(layout, hash), join(layout.trash, `${hash}.${randomBytes(6).toString('hex')}`));
    await syncDirectory(this.#disk, layout.releases);
    await removeName(this.#disk, manifestFile(layout, hash));
  }

  /** Removes what earlier attempts left: trash, other stagings, temporary names, manifests without a tree. */
  async #sweep(layout: Layout, keepStaging: string | undefined): Promise<void> {
    const disk = this.#disk;
    await emptyDirectory(disk, layout.trash);
    for (const name of await namesIn(disk, layout.staging)) {
      if (name !== keepStaging) await disk.rm(join(layout.staging, name), { recursive: true, force: true });
    }
    for (const directory of [layout.home, layout.manifests]) {
      for (const name of await namesIn(disk, directory)) if (TEMPORARY.test(name)) await removeName(disk, join(directory, name));
    }
    const releases = new Set(await namesIn(disk, layout.releases));
    for (const name of await namesIn(disk, layout.manifests)) {
      const hash = name.replace(/\.json$/, '');
      if (!releases.has(hash) && hash !== keepStaging) await removeName(disk, join(layout.manifests, name));
    }
  }

  async #doing(what: string, work: () => Promise<void>): Promise<void> {
    try {
      await work();
    } catch (error) {
      throw diskError(error, what);
    }
  }
}

function canonicalManifest(release: AcceptedRelease): Buffer {
  const bytes = printManifest(release.manifest);
  if (sha256(bytes) !== release.manifestHash || release.manifest.application !== release.application) {
    throw new WardcastError('MANIFEST_INVALID', `The manifest of ${release.application} ${release.version} is not the one its hash names`);
  }
  return bytes;
}
