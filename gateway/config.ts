import { z } from 'zod';
import { ConfigHost, ConfigLog, ConfigMetrics, ConfigPath, ConfigPort } from '../shared/base/config.ts';
import { GATEWAY_DISK_BUDGET } from '../shared/base/limits.ts';
import { ConfigRate } from '../shared/base/rate-plan.ts';

const MIB = 1024 * 1024;

/** gateway.toml; docs/operations.md says it for people. */
export const GatewayConfig = z.strictObject({
  /** Everything the gateway keeps: chunks, views, outbox, counters. */
  data: ConfigPath,
  /** key.pem, chain.pem, root.pem */
  credentials: ConfigPath,
  /** The TUF root that came with the gateway. */
  root: ConfigPath,
  uplink: z.strictObject({
    host: ConfigHost,
    port: ConfigPort,
    /** When the provider's certificate is for another name than `host`. */
    server_name: ConfigHost.optional(),
    /** What content may take of the line, and when; what is said (offers, confirmations, signed files) is never held up. */
    limit: ConfigRate.prefault({}),
  }),
  /** The address of the LAN's interface: listened on and advertised on, and nowhere else. */
  lan: z.strictObject({
    host: ConfigHost,
    port: ConfigPort.default(8883),
    /** Address of the interface for mDNS, when it is another than `host`. */
    interface: ConfigHost.optional(),
    /** Of what leaves the gateway for all devices together. */
    limit: ConfigRate.prefault({}),
  }),
  retention: z
    .strictObject({
      budget_mib: z
        .int()
        .min(1)
        .default(GATEWAY_DISK_BUDGET / MIB),
    })
    .prefault({}),
  metrics: ConfigMetrics,
  log: ConfigLog,
});
export type GatewayConfig = z.output<typeof GatewayConfig>;
