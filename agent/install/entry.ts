import { z } from 'zod';
import { Confirmation, Id, Sha256, Version } from '../../shared/wire/messages.ts';

/**
 * One installation as the journal knows it. States and what stands behind them:
 *
 *   staging       files are being written beside the running release
 *   staged        every file is there, verified and durable
 *   activating    the swap may or may not have happened
 *   activated     the new release runs, unproven
 *   checked       it was found healthy; old releases may be going
 *   committed     done; its confirmation is fixed and on its way to the outbox
 *   rolling-back  the old release is being brought back
 *   rolled-back   done; its confirmation is fixed and on its way to the outbox
 */
export const STATES = ['staging', 'staged', 'activating', 'activated', 'checked', 'committed', 'rolling-back', 'rolled-back'] as const;
const Reason = z.strictObject({ code: z.string(), message: z.string() });
const Count = z.int().min(0);

export const JournalEntry = z.strictObject({
  application: Id,
  version: Version,
  manifest: Sha256,
  /** The bundle that asked for it. */
  sequence: Count,
  state: z.enum(STATES),
  /** How often this release was started without having been committed. */
  starts: Count,
  /** What ran when the installation began, and comes back if it fails. */
  previous: z.strictObject({ version: Version, manifest: Sha256 }).nullable(),
  /** Bytes of content by source. */
  sources: z.strictObject({ gateway: Count, peer: Count, own: Count, patch: Count.default(0) }),
  /** Why it is rolled back. */
  reason: Reason.nullable(),
  /** Set with `committed` and `rolled-back`: exactly what will be said, so that saying it twice is saying it once. */
  confirmation: Confirmation.nullable(),
});
export type JournalEntry = z.infer<typeof JournalEntry>;
