import { isWardcastError } from '../../shared/base/errors.ts';
import type { ObjectPuller } from '../../shared/net/exchange/puller.ts';
import type { FetchOptions, MetadataSource } from '../../shared/trust/metadata-source.ts';
import type { ObjectKind } from '../../shared/wire/messages.ts';

/** Metadata and targets through the broker: for sites where only its port is open. */
export class PulledMetadata implements MetadataSource {
  readonly #puller: Pick<ObjectPuller, 'get'>;
  readonly #group: string;

  constructor(puller: Pick<ObjectPuller, 'get'>, group: string) {
    this.#puller = puller;
    this.#group = group;
  }

  metadata(name: string, options: FetchOptions): Promise<Buffer | undefined> {
    return this.#optional('metadata', name, options);
  }

  target(sha256: string, options: FetchOptions): Promise<Buffer | undefined> {
    return this.#optional('target', sha256, options);
  }

  async #optional(kind: ObjectKind, name: string, options: FetchOptions): Promise<Buffer | undefined> {
    try {
      return await this.#puller.get({ group: this.#group, kind, name }, options);
    } catch (error) {
      if (isWardcastError(error, 'OBJECT_ABSENT')) return undefined;
      throw error;
    }
  }
}
