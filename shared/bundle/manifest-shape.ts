import { z } from 'zod';
import { CHUNK_MAX, MAX_CONTENT_KEYS, MAX_FILE_SIZE, MAX_HOOK_TIMEOUT, MAX_RELEASE_SIZE, MAX_URL, MAX_WIRE_CHUNK } from '../base/limits.ts';
import { HashText, IdText, VersionText } from './strict-json.ts';

/** A release's list of files: what its vendor signs, docs/bundle-format.md. */
export interface Manifest {
  readonly format: 1;
  readonly application: string;
  /** semver 2.0 without build metadata. */
  readonly version: string;
  /** Bytes of all files. */
  readonly size: number;
  /** The oldest agent that understands this release. */
  readonly minimumAgent?: string;
  /** Software bill of materials: a file of the release, or an https address; and its sha256. */
  readonly sbom?: { readonly path?: string; readonly url?: string; readonly sha256: string };
  readonly hooks: Hooks;
  /** Its chunks are encrypted: the ids of their content keys, see content-key.ts. */
  readonly encryption?: { readonly keys: readonly string[] };
  /** In ascending order of path (code units). */
  readonly files: readonly FileEntry[];
  readonly links: readonly LinkEntry[];
}
export interface Hooks {
  readonly preActivate?: Hook;
  readonly postActivate?: Hook;
  readonly check?: Hook;
  readonly rollback?: Hook;
}
export interface Hook {
  /** An executable file of the release. */
  readonly path: string;
  readonly timeoutMs?: number;
}
export interface FileEntry {
  readonly path: string;
  readonly size: number;
  readonly mode: 0o644 | 0o755;
  readonly sha256: string;
  /** In order; an empty file has none. */
  readonly chunks: readonly ChunkRef[];
}
/** A piece of a file, and the wire form it travels in: see chunk-form.ts. */
export interface ChunkRef {
  /** sha256 of the wire form. */
  readonly hash: string;
  /** Bytes of content. */
  readonly size: number;
  /** Bytes of the wire form; absent, with `plain`, where the content is its own. */
  readonly wire?: number;
  /** sha256 of the content. */
  readonly plain?: string;
  /** It is encrypted: under which key of `encryption.keys`. */
  readonly key?: number;
}
/** A symlink that provably stays in the tree: its target is a listed file or directory, never another link or a directory above the link. */
export interface LinkEntry {
  readonly path: string;
  /** Relative to the link's directory. */
  readonly link: string;
}

const Bytes = z.int().min(0);
export const ChunkShape = z.strictObject({
  hash: HashText,
  size: z.int().min(1).max(CHUNK_MAX),
  wire: z.int().min(1).max(MAX_WIRE_CHUNK).exactOptional(),
  plain: HashText.exactOptional(),
  key: z
    .int()
    .min(0)
    .max(MAX_CONTENT_KEYS - 1)
    .exactOptional(),
});
const HookShape = z.strictObject({ path: z.string(), timeoutMs: z.int().min(1).max(MAX_HOOK_TIMEOUT).exactOptional() });
export const ManifestShape = z.strictObject({
  format: z.literal(1),
  application: IdText,
  version: VersionText,
  size: Bytes.max(MAX_RELEASE_SIZE),
  minimumAgent: VersionText.exactOptional(),
  sbom: z
    .strictObject({
      path: z.string().exactOptional(),
      url: z
        .url({ protocol: /^https$/ })
        .max(MAX_URL)
        .exactOptional(),
      sha256: HashText,
    })
    .exactOptional(),
  hooks: z.strictObject({
    preActivate: HookShape.exactOptional(),
    postActivate: HookShape.exactOptional(),
    check: HookShape.exactOptional(),
    rollback: HookShape.exactOptional(),
  }),
  encryption: z.strictObject({ keys: z.array(HashText).min(1).max(MAX_CONTENT_KEYS) }).exactOptional(),
  files: z.array(
    z.strictObject({
      path: z.string(),
      size: Bytes.max(MAX_FILE_SIZE),
      mode: z.union([z.literal(0o644), z.literal(0o755)], { error: (issue) => whyMode(issue.input) }),
      sha256: HashText,
      chunks: z.array(ChunkShape),
    }),
  ),
  links: z.array(z.strictObject({ path: z.string(), link: z.string() })),
});

function whyMode(mode: unknown): string {
  if (typeof mode !== 'number') return 'the mode is no number';
  const special = (mode & 0o4000) !== 0 ? ' (setuid)' : (mode & 0o2000) !== 0 ? ' (setgid)' : (mode & 0o1000) !== 0 ? ' (sticky)' : '';
  return `the mode ${mode.toString(8)}${special} is not allowed, only 644 and 755 are`;
}
