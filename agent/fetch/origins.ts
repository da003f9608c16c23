import type { ChunkOrigin } from '../../shared/store/chunk-fetcher.ts';

/** Bytes of one installation by where they came from. They add up to what was missing on the device. */
export interface OriginBytes {
  readonly gateway: number;
  readonly peer: number;
  readonly own: number;
  /** What patches made beyond their own bytes, which came from the gateway and from peers as all else does. */
  readonly patch: number;
}

/** Counts them. */
export class Origins {
  readonly #bytes: Record<ChunkOrigin, number> = { own: 0, peer: 0, gateway: 0, patch: 0 };
  #patches = 0;

  add(from: ChunkOrigin, bytes: number): void {
    this.#bytes[from] += bytes;
  }

  /** Bytes of a patch itself came. */
  addPatch(from: 'peer' | 'gateway', bytes: number): void {
    this.#bytes[from] += bytes;
    this.#patches += bytes;
  }

  bytes(): OriginBytes {
    const { own, peer, gateway, patch } = this.#bytes;
    return { own, peer, gateway, patch: Math.max(0, patch - this.#patches) };
  }
}
