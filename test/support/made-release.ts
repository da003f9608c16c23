import type { AcceptedRelease } from '../../agent/handlers/install-handler.ts';
import { split } from '../../shared/bundle/chunker.ts';
import { sha256 } from '../../shared/bundle/digest.ts';
import { type Hooks, type Manifest, printManifest } from '../../shared/bundle/manifest.ts';

export interface MadeRelease extends AcceptedRelease {
  readonly bytes: Buffer;
  readonly chunks: ReadonlyMap<string, Buffer>;
  readonly contents: ReadonlyMap<string, Buffer>;
}

export interface ReleaseParts {
  readonly application?: string;
  readonly version?: string;
  /** A name that ends in .sh is executable. */
  readonly files: Readonly<Record<string, Buffer | string>>;
  readonly links?: Readonly<Record<string, string>>;
  readonly hooks?: Hooks;
  readonly minimumAgent?: string;
}

/** A release as its vendor would have made it, in memory. */
export function madeRelease({ application = 'viewer', version = '1.0.0', files, links = {}, hooks = {}, minimumAgent }: ReleaseParts): MadeRelease {
  const chunks = new Map<string, Buffer>();
  const contents = new Map(Object.entries(files).map(([path, content]) => [path, Buffer.from(content)]));
  const entries = [...contents].sort(byName).map(([path, bytes]) => ({
    path,
    size: bytes.length,
    mode: path.endsWith('.sh') ? (0o755 as const) : (0o644 as const),
    sha256: sha256(bytes),
    chunks: [...split(bytes)].map((piece) => {
      const hash = sha256(piece);
      chunks.set(hash, Buffer.from(piece));
      return { hash, size: piece.length };
    }),
  }));
  const manifest: Manifest = {
    format: 1,
    application,
    version,
    size: entries.reduce((sum, entry) => sum + entry.size, 0),
    hooks,
    files: entries,
    links: Object.entries(links)
      .sort(byName)
      .map(([path, link]) => ({ path, link })),
    ...(minimumAgent === undefined ? {} : { minimumAgent }),
  };
  const bytes = printManifest(manifest);
  return { application, version, manifest, manifestHash: sha256(bytes), bytes, chunks, contents };
}

function byName(a: readonly [string, unknown], b: readonly [string, unknown]): number {
  return a[0] < b[0] ? -1 : 1;
}
