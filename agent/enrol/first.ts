import { hasLeaf } from '../../certs/credentials.ts';
import { WardcastError } from '../../shared/base/errors.ts';
import { createBonjourDiscovery } from '../../shared/net/bonjour.ts';
import { type Agent, type AgentOptions, startAgent } from '../agent.ts';
import { parseAddress } from '../config.ts';
import { enrol, readTicket } from './enrol.ts';

/**
 * Starts the agent; one that has no certificate yet gets it first, for as long as that takes, as `[enrol]` says.
 * @throws as startAgent, and CONFIG_INVALID without a way to enrol
 */
export async function startEnrolled(options: AgentOptions): Promise<Agent> {
  const { config } = options;
  if (config.enrol !== undefined && !(await hasLeaf(config.credentials))) await enrolFirst(options);
  return startAgent(options);
}

async function enrolFirst(options: AgentOptions): Promise<void> {
  const { config, clock, log, random = Math.random } = options;
  const { enrol: wanted } = config;
  const ticket = wanted === undefined ? undefined : await readTicket({ tokenFile: wanted.token_file, claim: wanted.claim }, clock);
  if (wanted === undefined || ticket === undefined) {
    throw new WardcastError('CONFIG_INVALID', 'This device has no certificate, and [enrol] names neither token_file nor claim', {
      remedy: 'Run `wardcast agent enrol`, or name one of them.',
    });
  }
  const discovery = options.discovery ?? createBonjourDiscovery({ interface: config.lan.interface ?? config.lan.host, log, clock });
  try {
    log.info('enrolling', { device: wanted.device, with: ticket.kind });
    const { address } = config.gateway;
    await enrol(
      {
        ...{ directory: config.credentials, device: wanted.device, ticket, persistent: true, clock, log, random },
        fixed: address === undefined ? undefined : parseAddress(address),
        browse: (browsing) => discovery.browse('gateway', { signal: browsing }),
        onPending: (key) => log.warn('enrol.pending', { device: wanted.device, key }),
      },
      new AbortController().signal,
    );
  } finally {
    if (options.discovery === undefined) await discovery.close();
  }
}
