import { isSha256 } from '../../bundle/digest.ts';
import { checkChunkName } from '../../store/chunk-name.ts';
import type { CallOptions, ChunkSource } from '../../store/chunk-source.ts';
import type { ObjectPuller } from './puller.ts';

/** The chunks of a group's bundle over MQTT: the line's way, and the LAN's where only the broker's port is open. */
export class ObjectChunkSource implements ChunkSource {
  readonly #puller: ObjectPuller;
  readonly #group: string;
  readonly #sizes: ReadonlyMap<string, number> | undefined;

  /** @param options.sizes bytes by hash, when known: they make the credit exact */
  constructor(options: { puller: ObjectPuller; group: string; sizes?: ReadonlyMap<string, number> }) {
    this.#puller = options.puller;
    this.#group = options.group;
    this.#sizes = options.sizes;
  }

  /** Nothing is asked: the other side has all of the group's bundle. */
  async has(hash: string, { signal }: CallOptions = {}): Promise<boolean> {
    signal?.throwIfAborted();
    return isSha256(hash) && (this.#sizes?.has(hash) ?? true);
  }

  async get(hash: string, { signal }: CallOptions = {}): Promise<Buffer> {
    checkChunkName(hash);
    const size = this.#sizes?.get(hash);
    return this.#puller.get({ group: this.#group, kind: 'chunk', name: hash }, { signal, ...(size === undefined ? {} : { size }) });
  }
}
