import { join } from 'node:path';

/**
 * Where an application lives on the device:
 *
 *   <install>/<application>/current                     → releases/<manifest hash>: what runs. One rename swaps it.
 *   <install>/<application>/previous                    → releases/<manifest hash>: what ran before.
 *   <install>/<application>/releases/<manifest hash>/   whole, verified trees; moved here only when complete and durable
 *   <install>/<application>/manifests/<manifest hash>.json   the canonical manifest of each of them
 *   <install>/<application>/staging/<manifest hash>/    a tree being built
 *   <install>/<application>/trash/                      trees being removed
 */
export interface Layout {
  readonly application: string;
  readonly home: string;
  readonly current: string;
  readonly previous: string;
  readonly releases: string;
  readonly manifests: string;
  readonly staging: string;
  readonly trash: string;
}

export function layoutOf(install: string, application: string): Layout {
  const home = join(install, application);
  return {
    application,
    home,
    current: join(home, 'current'),
    previous: join(home, 'previous'),
    releases: join(home, 'releases'),
    manifests: join(home, 'manifests'),
    staging: join(home, 'staging'),
    trash: join(home, 'trash'),
  };
}

export function releaseDirectory(layout: Layout, manifestHash: string): string {
  return join(layout.releases, manifestHash);
}

export function stagingDirectory(layout: Layout, manifestHash: string): string {
  return join(layout.staging, manifestHash);
}

export function manifestFile(layout: Layout, manifestHash: string): string {
  return join(layout.manifests, `${manifestHash}.json`);
}

/** What the links `current` and `previous` hold. Relative, so that the tree may be moved as a whole. */
export function linkTarget(manifestHash: string): string {
  return `releases/${manifestHash}`;
}

/** The manifest hash a link's target names; undefined for anything this handler did not write. */
export function hashOfLink(target: string): string | undefined {
  return /^releases\/([0-9a-f]{64})$/.exec(target)?.[1];
}
