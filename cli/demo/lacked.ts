import { existsSync } from 'node:fs';
import path from 'node:path';
import { ViewStore } from '../../gateway/relay/view-store.ts';
import { silentLog } from '../../shared/base/log.ts';
import { type DemoRelease, type DemoSite, entitled, FIRST, GROUPS, SECOND } from './cast.ts';
import type { Stage } from './stage.ts';

/** What a site lacked of the new versions, by the signed bundles of its groups: chunks, or patches that make them. */
export interface Lacked {
  /** Chunk hash → bytes, of releases and patches alike, without what the old versions brought. */
  readonly chunks: ReadonlyMap<string, number>;
  /** Bytes of patches among them, and of the chunks that they replaced and that nobody asked for. */
  readonly patchBytes: number;
  readonly replacedBytes: number;
}

/** Read from the bundles that stand on the site's gateway: no daemon's counter has a part in it. */
export async function lackedBy(stage: Stage, site: DemoSite): Promise<Lacked> {
  const directory = path.join(stage.home.gateway(site), 'data', 'views');
  const views = await new ViewStore({ directory, site, log: silentLog }).load();
  const old = stage.signed.chunks(wanted(FIRST));
  const releases = new Set(wanted(SECOND).map((release) => stage.signed.of(release).hash));
  const chunks = new Map<string, number>();
  const patches = new Map<string, number>();
  const replaced = new Map<string, number>();
  for (const { current } of views.values()) {
    for (const [manifest, { hashes, sizes }] of current.manifests) {
      const into = current.patched.has(manifest) ? [replaced] : releases.has(manifest) ? [chunks] : [chunks, patches];
      hashes.forEach((hash, index) => {
        for (const map of into) if (!old.has(hash)) map.set(hash, sizes[index] ?? 0);
      });
    }
  }
  // Asked for by a device all the same: fetched, and no longer replaced.
  for (const [hash, size] of replaced) {
    if (!existsSync(path.join(stage.home.gateway(site), 'data', 'chunks', hash.slice(0, 2), hash))) continue;
    chunks.set(hash, size);
    replaced.delete(hash);
  }
  return { chunks, patchBytes: bytesOf(patches), replacedBytes: bytesOf(replaced) };
}

export function bytesOf(chunks: ReadonlyMap<string, number>): number {
  return [...chunks.values()].reduce((sum, size) => sum + size, 0);
}

function wanted(releases: readonly DemoRelease[]): DemoRelease[] {
  return releases.filter(({ application }) => GROUPS.some(({ group }) => entitled(group).includes(application)));
}
