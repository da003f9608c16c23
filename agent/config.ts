import { z } from 'zod';
import { ConfigHost, ConfigLog, ConfigMetrics, ConfigPath, ConfigPort } from '../shared/base/config.ts';
import { UPLOAD_MBIT } from '../shared/base/limits.ts';
import { ConfigRate } from '../shared/base/rate-plan.ts';
import type { Address } from './locate.ts';

/** agent.toml; docs/operations.md says it for people. */
export const AgentConfig = z.strictObject({
  /** Everything the agent keeps: journal, outbox, counter, trusted metadata. */
  data: ConfigPath,
  /** root.pem, and key.pem with chain.pem, or leaf.pem that the device obtained itself. */
  credentials: ConfigPath,
  /** The TUF root that came with the device. */
  root: ConfigPath,
  /** How this device gets its first certificate, when `credentials` holds only root.pem. */
  enrol: z
    .strictObject({
      /** The id it wants. */
      device: z.string().regex(/^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$/, 'a DNS label: a–z, 0–9 and inner hyphens, at most 63'),
      /** File with an enrolment code. */
      token_file: ConfigPath.optional(),
      /** Folder of a claim certificate, as `wardcast pki claim` makes it. */
      claim: ConfigPath.optional(),
    })
    .optional(),
  gateway: z
    .strictObject({
      /** `host:port`; absent: found by mDNS. */
      address: z
        .string()
        .regex(/^(\[[0-9A-Fa-f:.]+\]|[^:[\]]+):[0-9]{1,5}$/, 'host:port, an IPv6 address in brackets')
        .optional(),
    })
    .prefault({}),
  /** The address of the LAN's interface: advertised on and served on, and nowhere else. */
  lan: z.strictObject({
    host: ConfigHost,
    /** 0: any free one. */
    port: ConfigPort.default(0),
    /** Address of the interface for mDNS, when it is another than `host`. */
    interface: ConfigHost.optional(),
  }),
  install: z.strictObject({
    /** Root of all applications. */
    directory: ConfigPath,
    /** After a move: what becomes of applications that only the bundle of the old group named. */
    left_behind: z.enum(['keep', 'remove']).default('keep'),
  }),
  swarm: z
    .strictObject({
      /** Whether chunks are passed on to other devices of the group; `auto`: not on battery or a metered link. */
      share: z.enum(['auto', 'always', 'never']).default('auto'),
      /** The link costs by the byte. */
      metered: z.boolean().default(false),
      /** Of what leaves this device. */
      limit: ConfigRate.prefault({ mbit: UPLOAD_MBIT }),
    })
    .prefault({}),
  metrics: ConfigMetrics,
  log: ConfigLog,
});
export type AgentConfig = z.output<typeof AgentConfig>;

export function parseAddress(text: string): Address {
  const at = text.lastIndexOf(':');
  return { host: text.slice(0, at).replace(/^\[|\]$/g, ''), port: Number(text.slice(at + 1)) };
}
