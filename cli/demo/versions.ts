import { readFile } from 'node:fs/promises';
import path from 'node:path';
import { chunkSizes, type Manifest, parseManifest } from '../../shared/bundle/manifest.ts';
import { type DemoRelease, entitled, GROUPS } from './cast.ts';

/** What was signed, read back from the manifests: the yardstick for bytes, independent of what any daemon counts. */
export class Signed {
  readonly #workspace: string;
  readonly #releases = new Map<string, { manifest: Manifest; hash: string; bytes: number }>();

  constructor(workspace: string) {
    this.#workspace = workspace;
  }

  async add(release: DemoRelease, hash: string): Promise<void> {
    const bytes = await readFile(path.join(this.#workspace, 'manifests', `${hash}.json`));
    this.#releases.set(name(release), { manifest: parseManifest(bytes), hash, bytes: bytes.length });
  }

  has(release: Pick<DemoRelease, 'application' | 'version'>): boolean {
    return this.#releases.has(name(release));
  }

  of(release: Pick<DemoRelease, 'application' | 'version'>): { manifest: Manifest; hash: string; bytes: number } {
    const found = this.#releases.get(name(release));
    if (found === undefined) throw new Error(`${name(release)} was not signed`);
    return found;
  }

  /** Every chunk of these releases, each once, with its size as it is transferred (chunks travel uncompressed). */
  chunks(releases: readonly Pick<DemoRelease, 'application' | 'version'>[]): Map<string, number> {
    return new Map(releases.flatMap((release) => [...chunkSizes(this.of(release).manifest)]));
  }
}

/** Bytes of content that a site with all groups lacks before the first of these releases: every chunk once, whichever groups use it. */
export function uniqueBytes(signed: Signed, releases: readonly DemoRelease[]): number {
  const wanted = new Set(GROUPS.flatMap(({ group }) => entitled(group)));
  const sizes = signed.chunks(releases.filter(({ application }) => wanted.has(application)));
  return [...sizes.values()].reduce((sum, size) => sum + size, 0);
}

/** Hashes that only `group` may have: chunks and manifests of its releases that are not also another group's. */
export function onlyOf(signed: Signed, group: string, releases: readonly DemoRelease[]): { chunks: string[]; manifests: string[] } {
  const mine = entitled(group);
  const others = new Set(GROUPS.filter((other) => other.group !== group).flatMap((other) => entitled(other.group)));
  const shared = signed.chunks(releases.filter(({ application }) => others.has(application)));
  const own = releases.filter(({ application }) => mine.includes(application) && !others.has(application));
  return { chunks: [...signed.chunks(own).keys()].filter((hash) => !shared.has(hash)), manifests: own.map((release) => signed.of(release).hash) };
}

function name({ application, version }: Pick<DemoRelease, 'application' | 'version'>): string {
  return `${application}@${version}`;
}
