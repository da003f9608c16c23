/** Where chunks come from and go to. A peer, the gateway, old releases, a disk and an object store are all ChunkSources. */

export interface CallOptions {
  readonly signal?: AbortSignal | undefined;
}

export interface ChunkSource {
  /** Cheap and possibly wrong: a hint where to ask first. */
  has(hash: string, options?: CallOptions): Promise<boolean>;
  /**
   * The chunk's bytes, already verified against `hash` (64 lower-case hex digits of SHA-256).
   * Safe to call many times at once; implementations bound and batch their own work.
   * @throws OBJECT_ABSENT when this source has not got it, HASH_MISMATCH when what it had was not it
   */
  get(hash: string, options?: CallOptions): Promise<Buffer>;
}

export interface ChunkStore extends ChunkSource {
  /** Verifies, writes and returns when the chunk survives a power cut. Idempotent. @throws HASH_MISMATCH, STORAGE_FAILED */
  put(hash: string, bytes: Buffer, options?: CallOptions): Promise<void>;
  /** Idempotent. */
  delete(hash: string, options?: CallOptions): Promise<void>;
  list(options?: CallOptions): AsyncIterable<{ readonly hash: string; readonly size: number }>;
}
