import type { Fetcher } from 'tuf-js';
// tuf-js tells "no newer root" from every other failure by this class, which its entry point does not export.
import { DownloadHTTPError } from 'tuf-js/dist/error.js';
import { isWardcastError, toWardcastError, WardcastError } from '../base/errors.ts';
import type { MetadataPolicy } from './metadata-policy.ts';
import type { MetadataSource } from './metadata-source.ts';
import { maxMetadata } from './roles.ts';

/** No such host exists (RFC 2606): nothing here goes over a network of its own. */
export const METADATA_BASE_URL = 'https://metadata.invalid/';

/**
 * Feeds tuf-js from a MetadataSource. Refuses what is too long or against the repository's policy before tuf-js parses it, and keeps
 * the first failure: tuf-js flattens causes to text.
 */
export class SourceFetcher implements Fetcher {
  readonly #source: Pick<MetadataSource, 'metadata'>;
  readonly #policy: MetadataPolicy;
  readonly #signal: AbortSignal | undefined;
  #failure: WardcastError | undefined;

  constructor(source: Pick<MetadataSource, 'metadata'>, policy: MetadataPolicy, signal: AbortSignal | undefined) {
    this.#source = source;
    this.#policy = policy;
    this.#signal = signal;
  }

  /** What the source or the bytes themselves did wrong, if anything. */
  get failure(): WardcastError | undefined {
    return this.#failure;
  }

  /** A version of root; undefined: there is none. Called for each version before tuf-js runs. */
  root(version: number): Promise<Buffer | undefined> {
    return this.#noting(() => this.#obtain(`${version}.root.json`, Number.POSITIVE_INFINITY));
  }

  async downloadBytes(url: string, maxLength: number): Promise<Buffer> {
    const name = url.startsWith(METADATA_BASE_URL) ? url.slice(METADATA_BASE_URL.length) : '';
    // All versions were fetched and verified by then.
    if (/^\d+\.root\.json$/.test(name)) throw new DownloadHTTPError('No newer root', 404);
    return this.#noting(async () => {
      const bytes = await this.#obtain(name, maxLength);
      if (bytes === undefined) throw new WardcastError('METADATA_MISSING', `The metadata file ${name} could not be obtained`);
      return bytes;
    });
  }

  downloadFile<T>(): Promise<T> {
    return Promise.reject(new WardcastError('INTERNAL', 'Targets are fetched by hash and never through tuf-js'));
  }

  async #noting<T>(work: () => Promise<T>): Promise<T> {
    try {
      return await work();
    } catch (error) {
      this.#failure = this.#signal?.aborted
        ? new WardcastError('ABORTED', 'The work was cancelled', { cause: error })
        : toWardcastError(error, 'METADATA_MISSING', 'The metadata could not be obtained');
      throw this.#failure;
    }
  }

  async #obtain(name: string, maxLength: number): Promise<Buffer | undefined> {
    this.#signal?.throwIfAborted();
    const role = this.#policy.roleOf(name);
    if (role === undefined) throw new WardcastError('METADATA_INVALID', `${JSON.stringify(name.slice(0, 200))} is no name of metadata`);
    const maxBytes = Math.min(maxLength, maxMetadata(role));
    const bytes = await this.#read(name, maxBytes);
    if (bytes === undefined) return undefined;
    if (bytes.length > maxBytes) {
      throw new WardcastError('LIMIT_EXCEEDED', `The metadata file ${name} has ${bytes.length} bytes, more than the ${maxBytes} that are allowed`);
    }
    this.#policy.check(role, name, bytes);
    return bytes;
  }

  async #read(name: string, maxBytes: number): Promise<Buffer | undefined> {
    try {
      return await this.#source.metadata(name, { maxBytes, signal: this.#signal });
    } catch (error) {
      // A source may say "not here" either way.
      if (isWardcastError(error, 'OBJECT_ABSENT')) return undefined;
      throw error;
    }
  }
}
