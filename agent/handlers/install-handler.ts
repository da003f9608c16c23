import type { AcceptedRelease, InstalledRelease } from '../../shared/bundle/decide.ts';
import type { ChunkFetcher } from '../../shared/store/chunk-fetcher.ts';
import type { CallOptions } from '../../shared/store/chunk-source.ts';

export type { AcceptedRelease, InstalledRelease } from '../../shared/bundle/decide.ts';

export interface StageOptions extends CallOptions {
  /** Told once, before the first fetch: bytes of content that are not on the device yet, each chunk once. */
  readonly onMissing?: ((bytes: number) => void) | undefined;
  /** Told once, before the first fetch: what of the release stands already, and more as it comes; so that others can be served before it is whole. */
  readonly onStaged?: ((tree: StagedChunks) => void) | undefined;
}

/** The chunks of a release that is being staged; after staging nothing stands there any more. */
export interface StagedChunks {
  /** It was verified and written. */
  has(hash: string): boolean;
  /** Its content, verified again; undefined when it is damaged or gone. */
  read(hash: string): Promise<Buffer | undefined>;
}

/**
 * How software gets onto the device. Every method is idempotent: after a kill at any instant it may be called again
 * and ends in the same state. The journal (agent/install/journal.ts) decides which one is called.
 */
export interface InstallHandler {
  /** What runs now, read from the device itself and not from memory; undefined: nothing is installed. */
  running(application: string, options?: CallOptions): Promise<InstalledRelease | undefined>;
  /** All applications that the handler finds installed. */
  inventory(options?: CallOptions): Promise<readonly InstalledRelease[]>;
  /** Brings every file of the release next to the running one, verified and durable; fetches the content of what is missing. @throws SPACE_SHORT, OBJECT_ABSENT, HASH_MISMATCH, MANIFEST_INVALID, STORAGE_FAILED */
  stage(release: AcceptedRelease, chunks: ChunkFetcher, options?: StageOptions): Promise<void>;
  /** Makes the staged release the running one, atomically: afterwards it is the old or the new one, never a mix. @throws HOOK_FAILED, HOOK_TIMEOUT, BUSY: not now */
  activate(release: AcceptedRelease, options?: CallOptions): Promise<void>;
  /** Is the running release healthy? @throws CHECK_FAILED, HOOK_TIMEOUT */
  check(release: AcceptedRelease, options?: CallOptions): Promise<void>;
  /** The new release stays: older ones beyond the kept number are removed. */
  commit(release: AcceptedRelease, options?: CallOptions): Promise<void>;
  /** Back to what ran before (`previous`, undefined: to nothing); what was staged is removed. */
  rollback(release: AcceptedRelease, previous: InstalledRelease | undefined, options?: CallOptions): Promise<void>;
  /** Takes all of an application off the device: its hook `rollback` is told that nothing follows, then nothing of it runs or stands here. */
  remove(application: string, options?: CallOptions): Promise<void>;
}
