import { z } from 'zod';
import { ConfigHost, ConfigLog, ConfigPath, ConfigPort } from '../shared/base/config.ts';
import type { Address } from './locate.ts';

/** agent.toml; docs/operations.md says it for people. */
export const AgentConfig = z.strictObject({
  /** Everything the agent keeps: journal, outbox, counter, trusted metadata. */
  data: ConfigPath,
  /** key.pem, chain.pem, root.pem */
  credentials: ConfigPath,
  /** The TUF root that came with the device. */
  root: ConfigPath,
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
  }),
  log: ConfigLog,
});
export type AgentConfig = z.output<typeof AgentConfig>;

export function parseAddress(text: string): Address {
  const at = text.lastIndexOf(':');
  return { host: text.slice(0, at).replace(/^\[|\]$/g, ''), port: Number(text.slice(at + 1)) };
}
