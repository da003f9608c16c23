import { readdir, readFile, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { z } from 'zod';
import { systemCode, WardcastError } from '../../shared/base/errors.ts';
import { type Scope, sameScope } from '../../shared/base/identity.ts';
import { MAX_MANIFEST, MAX_SITE_GROUPS } from '../../shared/base/limits.ts';
import type { Log } from '../../shared/base/log.ts';
import { parseBundle } from '../../shared/bundle/bundle.ts';
import { sha256 } from '../../shared/bundle/digest.ts';
import { parseManifest } from '../../shared/bundle/manifest.ts';
import { fsyncDirectory, makeDirectory, writeDurably, writeSynced } from '../../shared/store/durable-file.ts';
import { storageFailed } from '../../shared/store/storage-failed.ts';
import { Id, ObjectName, Sha256 } from '../../shared/wire/messages.ts';
import { type CompleteView, completeView } from './complete-view.ts';
import type { ServedViews } from './views.ts';

const ViewRecord = z.strictObject({ bundle: Sha256, timestampVersion: z.int().min(0), metadata: z.record(ObjectName, Sha256), targets: z.array(Sha256) });
const MarkerRecord = z.strictObject({ format: z.literal(1), current: ViewRecord, previous: ViewRecord.nullable() });
type ViewRecord = z.infer<typeof ViewRecord>;

/**
 * The durable marker "this view of the group is complete", with its signed files, so that a gateway that starts with the line down serves.
 *
 *   <directory>/<group>/<sha256>         metadata, bundle, manifests by content
 *   <directory>/<group>/complete.json    which of them make the current and the previous complete view
 *
 * The marker is replaced in one rename after all it names is synced: a power cut leaves the old views or the new ones.
 */
export class ViewStore {
  readonly #directory: string;
  readonly #site: Omit<Scope, 'group'>;
  readonly #log: Log;

  constructor(options: { directory: string; site: Omit<Scope, 'group'>; log: Log }) {
    this.#directory = options.directory;
    this.#site = options.site;
    this.#log = options.log;
  }

  /** All complete views; a damaged group is logged and left out, to be relayed anew. @throws STORAGE_FAILED */
  async load(): Promise<Map<string, ServedViews>> {
    await makeDirectory(this.#directory);
    const groups = (await readdir(this.#directory)).filter((name) => Id.safeParse(name).success).slice(0, MAX_SITE_GROUPS);
    const loaded = new Map<string, ServedViews>();
    for (const group of groups) {
      try {
        const views = await this.#loadGroup(group);
        if (views !== undefined) loaded.set(group, views);
      } catch (error) {
        this.#log.error('views.damaged', { group, error });
      }
    }
    return loaded;
  }

  /** Returns when the views survive a power cut; then removes what no view needs any more. @throws STORAGE_FAILED */
  async save(views: ServedViews): Promise<void> {
    const directory = join(this.#directory, views.current.scope.group);
    const both = [views.current, ...(views.previous === undefined ? [] : [views.previous])];
    const blobs = new Map<string, Buffer>();
    const [current, previous] = both.map((view) => record(view, blobs));
    try {
      await makeDirectory(directory);
      const present = new Set(await readdir(directory));
      // A file of this name with other content is what a crash or a bad disk left: its length or hash tells.
      for (const [hash, bytes] of blobs) if (!present.has(hash) || !(await holds(join(directory, hash), hash, bytes))) await replace(directory, hash, bytes);
      await fsyncDirectory(directory);
      await writeDurably(join(directory, 'complete.json'), JSON.stringify({ format: 1, current, previous: previous ?? null }));
      for (const name of present) if (name !== 'complete.json' && !blobs.has(name)) await rm(join(directory, name), { force: true });
    } catch (error) {
      throw storageFailed(error, 'Cannot keep the view in', directory);
    }
  }

  async #loadGroup(group: string): Promise<ServedViews | undefined> {
    const directory = join(this.#directory, group);
    let text: string;
    try {
      text = await readFile(join(directory, 'complete.json'), 'utf8');
    } catch (error) {
      if (systemCode(error) === 'ENOENT') return undefined;
      throw storageFailed(error, 'Cannot read the views in', directory);
    }
    const marker = MarkerRecord.parse(JSON.parse(text));
    const current = await this.#loadView(directory, group, marker.current);
    if (marker.previous === null) return { current, previous: undefined };
    const previous = await this.#loadView(directory, group, marker.previous).catch((error: unknown) => {
      // Only devices in the middle of the old bundle would miss it, and they turn to the new one.
      this.#log.warn('views.previous-damaged', { group, error });
      return undefined;
    });
    return { current, previous };
  }

  async #loadView(directory: string, group: string, from: ViewRecord): Promise<CompleteView> {
    const metadata = new Map<string, Buffer>();
    for (const [name, hash] of Object.entries(from.metadata)) metadata.set(name, await readBlob(directory, hash));
    const targets = new Map<string, Buffer>();
    for (const hash of from.targets) targets.set(hash, await readBlob(directory, hash));
    const target = (hash: string): Buffer => {
      const bytes = targets.get(hash);
      if (bytes === undefined) throw new WardcastError('STORAGE_FAILED', `The view in ${directory} lacks ${hash}`, { context: { group, hash } });
      return bytes;
    };
    const bundle = parseBundle(target(from.bundle));
    if (!sameScope(bundle, { ...this.#site, group })) {
      throw new WardcastError('BUNDLE_SCOPE', `The view in ${directory} is of another customer, site or group`, {
        remedy: 'Each gateway needs a data directory of its own: one of another site was copied here. Remove it; the gateway fetches what it needs.',
      });
    }
    const manifests = new Map(bundle.releases.map(({ manifest }) => [manifest, parseManifest(target(manifest))]));
    const patches = new Map(
      bundle.releases
        .flatMap((release) => release.patches ?? [])
        .flatMap(({ manifest }) => (targets.has(manifest) ? [[manifest, parseManifest(target(manifest))] as const] : [])),
    );
    return completeView({ bundle, bundleHash: from.bundle, timestampVersion: from.timestampVersion, manifests, patches, metadata, targets });
  }
}

function record(view: CompleteView, blobs: Map<string, Buffer>): ViewRecord {
  const metadata: Record<string, string> = {};
  for (const [name, bytes] of view.metadata) {
    const hash = sha256(bytes);
    blobs.set(hash, bytes);
    metadata[name] = hash;
  }
  for (const [hash, bytes] of view.targets) blobs.set(hash, bytes);
  return { bundle: view.bundleHash, timestampVersion: view.timestampVersion, metadata, targets: [...view.targets.keys()] };
}

async function holds(file: string, hash: string, bytes: Buffer): Promise<boolean> {
  return (await stat(file)).size === bytes.length && sha256(await readFile(file)) === hash;
}

async function replace(directory: string, hash: string, bytes: Buffer): Promise<void> {
  await rm(join(directory, hash), { force: true });
  await writeSynced(join(directory, hash), bytes);
}

async function readBlob(directory: string, hash: string): Promise<Buffer> {
  const file = join(directory, hash);
  const bytes = await readFile(file).catch((error: unknown) => {
    throw storageFailed(error, 'Cannot read', file);
  });
  if (bytes.length > MAX_MANIFEST || sha256(bytes) !== hash) {
    throw new WardcastError('HASH_MISMATCH', `${file} is not what it was when it was written`, {
      remedy: 'The disk is failing: check it. The gateway fetches the view again when the line is up.',
      context: { hash },
    });
  }
  return bytes;
}
