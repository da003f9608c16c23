import type { Fetcher } from 'tuf-js';
// tuf-js tells "no newer root" from every other failure by this class, which its entry point does not export.
import { DownloadHTTPError } from 'tuf-js/dist/error.js';
import { isWardcastError, toWardcastError, WardcastError } from '../base/errors.ts';
import { type Scope, scopePath } from '../base/identity.ts';
import { inspectMetadata } from './inspect.ts';
import type { MetadataSource } from './metadata-source.ts';
import { isScoped, maxMetadata, parseMetadataName } from './roles.ts';

/** No such host exists (RFC 2606): nothing here goes over a network of its own. */
export const METADATA_BASE_URL = 'https://metadata.invalid/';

/**
 * Feeds tuf-js from a MetadataSource. Refuses what is too long, not canonical or for another group before tuf-js parses it, and keeps
 * the first failure: tuf-js flattens causes to text.
 */
export class SourceFetcher implements Fetcher {
  readonly #source: MetadataSource;
  readonly #scope: Scope;
  readonly #signal: AbortSignal | undefined;
  /** Every version of root that was delivered, whether or not it then verified. */
  readonly roots = new Map<number, Buffer>();
  #failure: WardcastError | undefined;

  constructor(source: MetadataSource, scope: Scope, signal: AbortSignal | undefined) {
    this.#source = source;
    this.#scope = scope;
    this.#signal = signal;
  }

  /** What the source or the bytes themselves did wrong, if anything. */
  get failure(): WardcastError | undefined {
    return this.#failure;
  }

  async downloadBytes(url: string, maxLength: number): Promise<Buffer> {
    try {
      return await this.#metadata(url, maxLength);
    } catch (error) {
      if (error instanceof DownloadHTTPError) throw error;
      this.#failure = this.#signal?.aborted
        ? new WardcastError('ABORTED', 'The work was cancelled', { cause: error })
        : toWardcastError(error, 'METADATA_MISSING', 'The metadata could not be obtained');
      throw this.#failure;
    }
  }

  downloadFile<T>(): Promise<T> {
    return Promise.reject(new WardcastError('INTERNAL', 'Targets are fetched by hash and never through tuf-js'));
  }

  async #metadata(url: string, maxLength: number): Promise<Buffer> {
    this.#signal?.throwIfAborted();
    const name = url.startsWith(METADATA_BASE_URL) ? decodeURIComponent(url.slice(METADATA_BASE_URL.length)) : '';
    const parsed = parseMetadataName(name);
    if (parsed === undefined) throw new WardcastError('METADATA_INVALID', `${JSON.stringify(name.slice(0, 200))} is no name of metadata`);
    const maxBytes = Math.min(maxLength, maxMetadata(parsed.role));
    const bytes = await this.#read(name, maxBytes);
    if (bytes === undefined) {
      if (parsed.role === 'root') throw new DownloadHTTPError('No newer root', 404);
      throw new WardcastError('METADATA_MISSING', `The metadata file ${name} could not be obtained`);
    }
    if (bytes.length > maxBytes) {
      throw new WardcastError('LIMIT_EXCEEDED', `The metadata file ${name} has ${bytes.length} bytes, more than the ${maxBytes} that are allowed`);
    }
    const { scope } = inspectMetadata(parsed.role, bytes);
    if (isScoped(parsed.role) && scope !== scopePath(this.#scope)) {
      throw new WardcastError('BUNDLE_SCOPE', `The metadata file ${name} is for ${scope ?? 'nobody'}, not for ${scopePath(this.#scope)}`);
    }
    if (parsed.role === 'root' && parsed.version !== undefined) this.roots.set(parsed.version, bytes);
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
