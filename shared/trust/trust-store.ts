import { readdir, readFile, rename, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { z } from 'zod';
import { systemCode, WardcastError } from '../base/errors.ts';
import type { Log } from '../base/log.ts';
import { canonicalJson } from '../bundle/canonical.ts';
import { sha256 } from '../bundle/digest.ts';
import { HashText } from '../bundle/strict-json.ts';
import { fsyncDirectory, makeDirectory, temporaryName, writeDurably, writeSynced } from '../store/durable-file.ts';

/** Names of files → sha256 of their bytes. */
const Names = z.record(z.string(), HashText);
const Online = z.strictObject({ timestamp: z.array(z.string()), snapshot: z.array(z.string()) });
/** What must outlive everything else: how far versions have come. Kept in files of its own, so that no one damaged file lowers them. */
const Floors = z.strictObject({
  format: z.literal(1),
  scope: z.string(),
  factoryRoot: HashText,
  roots: z.record(z.string(), HashText),
  versions: z.record(z.string(), z.int().min(1)),
  online: Online.optional(),
});
export type TrustFloors = z.infer<typeof Floors>;
const State = z.strictObject({
  format: z.literal(1),
  scope: z.string(),
  /** sha256 of the root metadata that this all began with. */
  factoryRoot: HashText,
  /** tuf-js' local files: what verified last, role by role. */
  trusted: Names,
  /** Version of each of those roles. A floor should the file itself be damaged. */
  versions: z.record(z.string(), z.int().min(1)),
  /** Key ids under which those of timestamp and snapshot were trusted; states of older agents lack it. */
  online: Online.optional(),
  /** All versions of root that verified, by version. */
  roots: Names,
  /** The last view that verified as a whole. */
  view: z.strictObject({ metadata: Names, bundle: HashText, manifests: z.array(HashText) }).nullable(),
});
export type TrustState = z.infer<typeof State>;

/**
 * What was verified, on disk: content-addressed objects and one small file that names them. Only the rename of that file changes anything,
 * so a power cut at any instant leaves the old or the new state; objects that no state names are removed at the next commit.
 * One writer per directory at a time.
 */
export class TrustStore {
  readonly #directory: string;
  readonly #log: Log;
  #damaged = false;

  constructor(directory: string, log: Log) {
    this.#directory = directory;
    this.#log = log;
  }

  /** True once something that was stored turned out to be gone or damaged. */
  get damaged(): boolean {
    return this.#damaged;
  }

  /** The newest undamaged state; undefined when there is none. @throws STORAGE_FAILED */
  async load(): Promise<TrustState | undefined> {
    // The backup is written second, so it is never newer.
    return (await this.#readSealed('state.json', State)) ?? (await this.#readSealed('state.backup.json', State));
  }

  /** How far versions had come at the last commit whose record is undamaged; undefined when there is none. @throws STORAGE_FAILED */
  async floors(): Promise<TrustFloors | undefined> {
    return (await this.#readSealed('floors.json', Floors)) ?? (await this.#readSealed('floors.backup.json', Floors));
  }

  /** An object's bytes; undefined when they are gone or damaged. @throws STORAGE_FAILED */
  async object(hash: string): Promise<Buffer | undefined> {
    const bytes = await this.#read(join('objects', hash));
    if (bytes === undefined || sha256(bytes) === hash) return bytes;
    this.#damaged = true;
    this.#log.error('trust.object-damaged', { hash });
    return undefined;
  }

  /** Makes `state` the current one; `objects` are those of it that may not be on disk yet. @throws STORAGE_FAILED */
  async commit(state: TrustState, objects: Iterable<Buffer>): Promise<void> {
    const bytes = seal(state);
    const folder = join(this.#directory, 'objects');
    try {
      await makeDirectory(folder);
      const present = new Set(await readdir(folder));
      for (const object of objects) {
        const hash = sha256(object);
        if (present.has(hash) && (await this.object(hash)) !== undefined) continue;
        const temporary = temporaryName(join(folder, hash));
        await writeSynced(temporary, object);
        await rename(temporary, join(folder, hash));
        present.add(hash);
      }
      await fsyncDirectory(folder);
      await writeDurably(join(this.#directory, 'state.json'), bytes);
      await writeDurably(join(this.#directory, 'state.backup.json'), bytes);
      const { format, scope, factoryRoot, roots, versions, online } = state;
      const floors = seal({ format, scope, factoryRoot, roots, versions, online });
      // After the state: it holds the same versions, and a floor that no state has reached would refuse a source that has not either.
      for (const name of ['floors.json', 'floors.backup.json']) await writeDurably(join(this.#directory, name), floors);
      const wanted = namedBy(state);
      // Leftovers of a crash (temporary files) go with the unnamed.
      for (const name of await readdir(folder)) if (!wanted.has(name)) await rm(join(folder, name), { force: true });
    } catch (cause) {
      throw new WardcastError('STORAGE_FAILED', `What was verified could not be stored in ${this.#directory}`, {
        cause,
        remedy: 'Look for a full disk or missing write permission.',
      });
    }
  }

  async #readSealed<T>(name: string, schema: z.ZodType<T>): Promise<T | undefined> {
    const bytes = await this.#read(name);
    if (bytes === undefined) return undefined;
    const value = unseal(bytes, schema);
    if (value === undefined) {
      this.#damaged = true;
      this.#log.error('trust.state-damaged', { file: join(this.#directory, name) });
    }
    return value;
  }

  async #read(name: string): Promise<Buffer | undefined> {
    try {
      return await readFile(join(this.#directory, name));
    } catch (cause) {
      if (systemCode(cause) === 'ENOENT') return undefined;
      throw new WardcastError('STORAGE_FAILED', `${join(this.#directory, name)} could not be read`, { cause });
    }
  }
}

function namedBy(state: TrustState): Set<string> {
  const view = state.view === null ? [] : [...Object.values(state.view.metadata), state.view.bundle, ...state.view.manifests];
  return new Set([state.factoryRoot, ...Object.values(state.trusted), ...Object.values(state.roots), ...view]);
}

/** Content with its own hash in front: damage is told from content. */
function seal(value: TrustState | TrustFloors): Buffer {
  const body = canonicalJson(value);
  return Buffer.concat([Buffer.from(`${sha256(body)}\n`), body]);
}

function unseal<T>(bytes: Buffer, schema: z.ZodType<T>): T | undefined {
  const body = bytes.subarray(65);
  if (bytes.subarray(0, 64).toString('latin1') !== sha256(body)) return undefined;
  return schema.safeParse(JSON.parse(body.toString('utf8'))).data;
}
