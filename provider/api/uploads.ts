import { WardcastError } from '../../shared/base/errors.ts';
import { MAX_EXPECTED_UPLOADS, MAX_MANIFEST, MAX_PARTIAL_UPLOADS } from '../../shared/base/limits.ts';
import { Assembly } from '../../shared/net/exchange/assembly.ts';
import { partsOf, type UploadPart } from '../../shared/net/exchange/object-ref.ts';
import type { ChunkSource, ChunkStore } from '../../shared/store/chunk-source.ts';

interface Expected {
  readonly store: ChunkStore;
  /** Bytes it must have. */
  readonly size: number;
}

/** Takes the objects that an offered release still lacks, and no others: the stores are no place to leave things. */
export class Uploads {
  readonly #stores: readonly ChunkSource[];
  readonly #expected = new Map<string, Expected>();
  /** Sender → hash → what came so far, the one untouched longest first. Only manifests are larger than a part. */
  readonly #partial = new Map<string, Map<string, Assembly>>();

  /** @param stores where objects may be already: sending one again is harmless */
  constructor(stores: readonly ChunkSource[]) {
    this.#stores = stores;
  }

  /** @throws BUSY, LIMIT_EXCEEDED */
  expect(hash: string, store: ChunkStore, size: number): void {
    if (size > MAX_MANIFEST) throw new WardcastError('LIMIT_EXCEEDED', `${hash} has ${size} bytes; an object has at most ${MAX_MANIFEST}`);
    if (this.#expected.size >= MAX_EXPECTED_UPLOADS && !this.#expected.has(hash)) {
      throw new WardcastError('BUSY', `${this.#expected.size} objects are awaited already`, { remedy: 'Finish the other uploads first.' });
    }
    this.#expected.set(hash, { store, size });
  }

  /**
   * Resolves when the part is noted, and for the one that completes the object when that is durable. Repeating it is harmless.
   * @throws DENIED when nobody offered it, PROTOCOL_VIOLATION, LIMIT_EXCEEDED, HASH_MISMATCH, STORAGE_FAILED
   */
  async take(sender: string, { hash, part, parts }: UploadPart, bytes: Buffer): Promise<void> {
    if (await this.#has(hash)) return;
    const expected = this.#expected.get(hash);
    if (expected === undefined) {
      throw new WardcastError('DENIED', `No release that was offered lacks ${hash}`, { remedy: 'Offer the release first, and upload what the answer names.' });
    }
    const { store, size } = expected;
    if (parts !== partsOf(size)) {
      throw new WardcastError('PROTOCOL_VIOLATION', `${hash} comes in ${parts} parts; its ${size} bytes fit into ${partsOf(size)}`, {
        remedy: 'Use the same version of the command line and the provider.',
      });
    }
    const whole = parts === 1 ? bytes : this.#assemble(sender, { hash, part, parts }, bytes, size);
    if (whole === undefined) return;
    if (whole.length !== size) {
      throw new WardcastError('HASH_MISMATCH', `${hash} has ${whole.length} bytes; ${size} were signed`, { remedy: 'Sign the release anew.' });
    }
    await store.put(hash, whole);
    // Others may have been sending the same.
    for (const other of [...this.#partial.keys()]) this.#drop(other, hash);
  }

  /** They are here, or nobody wants them any more. */
  done(hashes: Iterable<string>): void {
    for (const hash of hashes) this.#expected.delete(hash);
  }

  /** What this sender sent in part is dropped: it went away. */
  abandon(sender: string): void {
    this.#partial.delete(sender);
  }

  /** Bytes held of objects that are not whole yet. */
  get partialBytes(): number {
    return [...this.#partial.values()].reduce((sum, assemblies) => sum + bytesIn(assemblies), 0);
  }

  async #has(hash: string): Promise<boolean> {
    for (const store of this.#stores) if (await store.has(hash)) return true;
    return false;
  }

  #assemble(sender: string, { hash, part, parts }: UploadPart, bytes: Buffer, size: number): Buffer | undefined {
    const assemblies = this.#partial.get(sender) ?? new Map<string, Assembly>();
    this.#partial.set(sender, assemblies);
    const assembly = assemblies.get(hash) ?? new Assembly(parts, size);
    // Touched: the last one to give way.
    assemblies.delete(hash);
    assemblies.set(hash, assembly);
    for (const oldest of assemblies.keys()) {
      if (oldest === hash || bytesIn(assemblies) + bytes.length <= MAX_PARTIAL_UPLOADS) break;
      assemblies.delete(oldest);
    }
    try {
      const whole = assembly.add(part, bytes);
      if (whole !== undefined) this.#drop(sender, hash);
      return whole;
    } catch (error) {
      this.#drop(sender, hash);
      throw error;
    }
  }

  #drop(sender: string, hash: string): void {
    const assemblies = this.#partial.get(sender);
    assemblies?.delete(hash);
    if (assemblies?.size === 0) this.#partial.delete(sender);
  }
}

function bytesIn(assemblies: ReadonlyMap<string, Assembly>): number {
  let bytes = 0;
  for (const assembly of assemblies.values()) bytes += assembly.bytes;
  return bytes;
}
