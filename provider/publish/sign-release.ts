import { join } from 'node:path';
import { WardcastError } from '../../shared/base/errors.ts';
import { sha256 } from '../../shared/bundle/digest.ts';
import { chunkSizes, type FileEntry, type Hooks, type Manifest, printManifest } from '../../shared/bundle/manifest.ts';
import { DiskChunkStore } from '../../shared/store/disk-chunk-store.ts';
import { makeDirectory, writeDurably } from '../../shared/store/durable-file.ts';
import { openSigner } from '../../shared/trust/open-signer.ts';
import type { SecretSource } from '../../shared/trust/secret-source.ts';
import { chunkFile } from './chunk-file.ts';
import { Packing } from './packing.ts';
import { PutQueue } from './put-queue.ts';
import { addToRole, signedReleases } from './release-role.ts';
import { walkTree } from './walk.ts';

export interface SignReleaseOptions {
  /** The tree to release: every file in it is part of the release. */
  readonly directory: string;
  readonly application: string;
  readonly version: string;
  /** The application's release key: a key file, an encrypted one, or a token's `pkcs11:` URI. */
  readonly keyFile: string;
  /** Asked for the passphrase or PIN, where there is one. */
  readonly secrets?: SecretSource | undefined;
  /** Gets `manifests/<hash>.json`, `chunks/xx/<hash>`, `metadata/<N>.release-<application>.json`. */
  readonly workspace: string;
  /** Nobody but devices of groups that get the release can read it. */
  readonly encrypt?: boolean | undefined;
  readonly hooks?: Hooks | undefined;
  readonly minimumAgent?: string | undefined;
  readonly sbom?: Manifest['sbom'];
  readonly now?: Date | undefined;
  readonly signal?: AbortSignal | undefined;
  /** Bytes read so far and in all. */
  readonly onProgress?: ((done: number, total: number) => void) | undefined;
}

export interface SignedRelease {
  readonly application: string;
  readonly version: string;
  /** sha256 of the manifest, and its bytes. */
  readonly manifest: string;
  readonly manifestBytes: number;
  readonly roleVersion: number;
  readonly roleFile: string;
  readonly files: number;
  readonly links: number;
  readonly bytes: number;
  /** Distinct chunks and their bytes. */
  readonly chunks: number;
  readonly chunkBytes: number;
  /** Whether its chunks are encrypted. */
  readonly encrypted: boolean;
  /** Those that the workspace did not hold from earlier releases. */
  readonly newChunks: number;
  readonly newBytes: number;
}

/**
 * Makes a signed release from a directory tree, offline. Idempotent: killed at any instant it can be run again, for the role is written last,
 * when all that it names is durable.
 * @throws KEY_UNUSABLE, PATH_UNSAFE, PATH_COLLISION, MANIFEST_INVALID, LIMIT_EXCEEDED, CONFLICT, STORAGE_FAILED, ABORTED
 */
export async function signRelease(options: SignReleaseOptions): Promise<SignedRelease> {
  const key = await openSigner(options.keyFile, options.secrets);
  const tree = await walkTree(options.directory, options);
  if (tree.files.length === 0) {
    throw new WardcastError('MANIFEST_INVALID', `${options.directory} holds no files to release`, {
      remedy: 'Name the directory that holds the built software.',
    });
  }
  for (const folder of ['chunks', 'manifests', 'metadata']) await makeDirectory(join(options.workspace, folder));
  const store = await DiskChunkStore.open(join(options.workspace, 'chunks'));
  const before = { count: store.count, bytes: store.bytes };
  const total = tree.files.reduce((sum, { size }) => sum + size, 0);
  let done = 0;
  const onBytes = (bytes: number): void => {
    done += bytes;
    options.onProgress?.(done, total);
  };
  const puts = new PutQueue(store, options.signal);
  const files: FileEntry[] = [];
  const { workspace, application, encrypt = false } = options;
  const packing = await Packing.begin({
    workspace,
    store,
    puts,
    encrypt,
    version: options.version,
    signed: await signedReleases({ workspace, application, key }),
  });
  try {
    for (const found of tree.files) files.push(await chunkFile(found, { keep: (content) => packing.keep(content), onBytes, signal: options.signal }));
  } finally {
    // Also after a failure: nothing of ours runs on behind the caller's back.
    await puts.drain();
  }
  const manifest: Manifest = {
    format: 1,
    application: options.application,
    version: options.version,
    size: total,
    ...(options.minimumAgent === undefined ? {} : { minimumAgent: options.minimumAgent }),
    ...(options.sbom === undefined ? {} : { sbom: options.sbom }),
    hooks: options.hooks ?? {},
    ...(packing.encryption === undefined ? {} : { encryption: packing.encryption }),
    files,
    links: tree.links,
  };
  const bytes = printManifest(manifest);
  const hash = sha256(bytes);
  await writeDurably(join(options.workspace, 'manifests', `${hash}.json`), bytes);
  const role = await addToRole({
    workspace: options.workspace,
    application: options.application,
    key,
    now: options.now ?? new Date(),
    release: { version: options.version, manifest: hash, size: bytes.length },
  });
  const sizes = chunkSizes(manifest);
  return {
    application: options.application,
    version: options.version,
    manifest: hash,
    manifestBytes: bytes.length,
    roleVersion: role.version,
    roleFile: role.file,
    files: files.length,
    links: tree.links.length,
    bytes: total,
    chunks: sizes.size,
    chunkBytes: [...sizes.values()].reduce((sum, size) => sum + size, 0),
    encrypted: packing.encryption !== undefined,
    newChunks: store.count - before.count,
    newBytes: store.bytes - before.bytes,
  };
}
