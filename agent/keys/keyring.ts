import { readFile, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { z } from 'zod';
import { systemCode, WardcastError } from '../../shared/base/errors.ts';
import { type Scope, sameScope } from '../../shared/base/identity.ts';
import type { Log } from '../../shared/base/log.ts';
import type { Bundle, GroupKeyRef } from '../../shared/bundle/bundle.ts';
import type { ContentKeys } from '../../shared/bundle/content-key.ts';
import { contentKeysIn, groupKeyCommitment } from '../../shared/bundle/group-key.ts';
import { fsyncDirectory, makeDirectory, writeDurably } from '../../shared/store/durable-file.ts';
import { Id } from '../../shared/wire/messages.ts';

const FILE = 'group-key.json';
const KeyFile = z.strictObject({ format: z.literal(1), customer: Id, site: Id, group: Id, epoch: z.int().min(1), key: z.base64().length(44) });
const NONE: ContentKeys = new Map();

/** The key of the group that this device is in, and what it opens. In a file of its own that its owner alone reads. */
export class Keyring {
  readonly #directory: string;
  readonly #scope: Scope;
  readonly #log: Log;
  #key: Buffer | undefined;
  #commitment = '';
  /** What the bundle last asked about holds, by manifest. */
  #opened: { readonly bundle: Bundle; readonly keys: Map<string, ContentKeys> } | undefined;

  private constructor(o: { directory: string; scope: Scope; log: Log }) {
    this.#directory = o.directory;
    this.#scope = o.scope;
    this.#log = o.log;
  }

  /** Reads the key of earlier runs; one of another group, which this device has left, is deleted. A damaged one is none: it is asked for again. */
  static async open(o: { directory: string; scope: Scope; log: Log }): Promise<Keyring> {
    const ring = new Keyring(o);
    const file = join(o.directory, FILE);
    try {
      const kept = KeyFile.parse(JSON.parse(await readFile(file, 'utf8')));
      if (sameScope(kept, o.scope)) ring.#use(Buffer.from(kept.key, 'base64'));
      else {
        await rm(file);
        await fsyncDirectory(o.directory);
      }
    } catch (error) {
      if (systemCode(error) !== 'ENOENT') o.log.warn('key.file-unusable', { error });
    }
    return ring;
  }

  /** Is the key here that a bundle names? */
  has({ commitment }: GroupKeyRef): boolean {
    return this.#key !== undefined && this.#commitment === commitment;
  }

  /**
   * Keeps the key that a verified bundle names; resolves when it is durable.
   * @throws SIGNATURE_INVALID when it is another one, whoever gave it; STORAGE_FAILED
   */
  async keep({ epoch, commitment }: GroupKeyRef, key: Buffer): Promise<void> {
    if (groupKeyCommitment(key) !== commitment)
      throw new WardcastError('SIGNATURE_INVALID', `What came as the group’s key of epoch ${epoch} is not the one that the signed bundle names`);
    const { customer, site, group } = this.#scope;
    await makeDirectory(this.#directory);
    const kept: z.infer<typeof KeyFile> = { format: 1, customer, site, group, epoch, key: key.toString('base64') };
    await writeDurably(join(this.#directory, FILE), `${JSON.stringify(kept)}\n`, 0o600);
    this.#use(key);
  }

  /** The content keys of a release of a verified bundle, by id; none when it has none or the group's key is not here. */
  contentKeys(bundle: Bundle | undefined, manifest: string): ContentKeys {
    if (bundle === undefined) return NONE;
    if (this.#opened?.bundle !== bundle) this.#opened = { bundle, keys: new Map() };
    const known = this.#opened.keys.get(manifest);
    if (known !== undefined) return known;
    const keys = this.#open(bundle, manifest);
    this.#opened.keys.set(manifest, keys);
    return keys;
  }

  #open(bundle: Bundle, manifest: string): ContentKeys {
    try {
      return contentKeysIn(bundle, manifest, (ref) => (this.has(ref) ? this.#key : undefined));
    } catch (error) {
      this.#log.error('key.bundle-unusable', { sequence: bundle.sequence, manifest, error });
      return NONE;
    }
  }

  #use(key: Buffer): void {
    this.#key = key;
    this.#commitment = groupKeyCommitment(key);
    this.#opened = undefined;
  }
}
