import { z } from 'zod';
import { ConfigHost, ConfigLog, ConfigMetrics, ConfigPath, ConfigPort } from '../shared/base/config.ts';
import { LEAF_DAYS } from '../shared/base/limits.ts';

/** provider.toml; docs/operations.md says it for people. */
export const ProviderConfig = z.strictObject({
  /** Everything the provider keeps: registry with its log, manifests, chunks. */
  data: ConfigPath,
  /** key.pem, chain.pem, root.pem */
  credentials: ConfigPath,
  /** Folder of the offline ceremony's metadata: N.root.json, N.targets.json. */
  trust: ConfigPath,
  /** Folder of the online keys: assignment.pem, snapshot.pem, timestamp.pem. */
  keys: ConfigPath,
  listen: z.strictObject({ host: ConfigHost.default('0.0.0.0'), port: ConfigPort.default(8883) }).prefault({}),
  /** Certificates given online; absent: none are. */
  enrolment: z
    .strictObject({
      /** Folder of issuing authorities, as `wardcast pki export-issuer` makes it. */
      authorities: ConfigPath,
      /** How long a certificate given here lasts. */
      leaf_days: z.number().positive().max(LEAF_DAYS).default(LEAF_DAYS),
    })
    .optional(),
  patches: z
    .strictObject({
      /** Send patches where all devices of a group run another release of an application already. */
      make: z.boolean().default(true),
    })
    .prefault({}),
  metrics: ConfigMetrics,
  log: ConfigLog,
});
