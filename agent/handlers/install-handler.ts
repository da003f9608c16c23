import type { Manifest } from '../../shared/bundle/manifest.ts';
import type { CallOptions, ChunkSource } from '../../shared/store/chunk-source.ts';

/** A release that the agent accepted: its verified manifest and the manifest's own hash. */
export interface AcceptedRelease {
  readonly application: string;
  readonly version: string;
  readonly manifestHash: string;
  readonly manifest: Manifest;
}

export interface InstalledRelease {
  readonly application: string;
  readonly version: string;
  readonly manifestHash: string;
}

export interface StageOptions extends CallOptions {
  /** Told once, before the first fetch: bytes of content that are not on the device yet, each chunk once. */
  readonly onMissing?: ((bytes: number) => void) | undefined;
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
  /** Brings every file of the release next to the running one, verified and durable; fetches what is missing. @throws SPACE_SHORT, OBJECT_ABSENT, HASH_MISMATCH, MANIFEST_INVALID, STORAGE_FAILED */
  stage(release: AcceptedRelease, chunks: ChunkSource, options?: StageOptions): Promise<void>;
  /** Makes the staged release the running one, atomically: afterwards it is the old or the new one, never a mix. @throws HOOK_FAILED, HOOK_TIMEOUT, BUSY: not now */
  activate(release: AcceptedRelease, options?: CallOptions): Promise<void>;
  /** Is the running release healthy? @throws CHECK_FAILED, HOOK_TIMEOUT */
  check(release: AcceptedRelease, options?: CallOptions): Promise<void>;
  /** The new release stays: older ones beyond the kept number are removed. */
  commit(release: AcceptedRelease, options?: CallOptions): Promise<void>;
  /** Back to what ran before (`previous`, undefined: to nothing); what was staged is removed. */
  rollback(release: AcceptedRelease, previous: InstalledRelease | undefined, options?: CallOptions): Promise<void>;
}
