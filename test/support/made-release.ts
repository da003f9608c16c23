import type { AcceptedRelease } from '../../agent/handlers/install-handler.ts';
import { packChunk } from '../../shared/bundle/chunk-form.ts';
import { split } from '../../shared/bundle/chunker.ts';
import { contentKeyId } from '../../shared/bundle/content-key.ts';
import { sha256 } from '../../shared/bundle/digest.ts';
import { type Hooks, type Manifest, printManifest } from '../../shared/bundle/manifest.ts';

export interface MadeRelease extends AcceptedRelease {
  readonly bytes: Buffer;
  /** Wire forms by their hash. */
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
  /** How chunks travel: as their content unless given. */
  readonly form?: 'compressed' | { readonly sealedUnder: Buffer };
}

/** A release as its vendor would have made it, in memory. */
export function madeRelease({ application = 'viewer', version = '1.0.0', files, links = {}, hooks = {}, minimumAgent, form }: ReleaseParts): MadeRelease {
  const chunks = new Map<string, Buffer>();
  const key = typeof form === 'object' ? form.sealedUnder : undefined;
  const contents = new Map(Object.entries(files).map(([path, content]) => [path, Buffer.from(content)]));
  const entries = [...contents].sort(byName).map(([path, bytes]) => ({
    path,
    size: bytes.length,
    mode: path.endsWith('.sh') ? (0o755 as const) : (0o644 as const),
    sha256: sha256(bytes),
    chunks: [...split(bytes)].map((piece) => {
      const content = Buffer.from(piece);
      const { chunk, wire } =
        form === undefined
          ? { chunk: { hash: sha256(content), size: content.length }, wire: content }
          : packChunk(content, key === undefined ? undefined : { key, index: 0 });
      chunks.set(chunk.hash, wire);
      return chunk;
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
    ...(key === undefined ? {} : { encryption: { keys: [contentKeyId(key)] } }),
  };
  const bytes = printManifest(manifest);
  return { application, version, manifest, manifestHash: sha256(bytes), bytes, chunks, contents };
}

function byName(a: readonly [string, unknown], b: readonly [string, unknown]): number {
  return a[0] < b[0] ? -1 : 1;
}
