import type { Clock } from '../../shared/base/clock.ts';
import type { Log } from '../../shared/base/log.ts';
import type { Discovery } from '../../shared/net/discovery.ts';
import type { AskRenewal } from '../../shared/net/enrol/renewal.ts';
import { type AgentConfig, parseAddress } from '../config.ts';
import { isOwnGateway } from '../locate.ts';
import { askAround } from './road.ts';

interface Options {
  readonly config: AgentConfig;
  readonly clock: Clock;
  readonly log: Log;
  readonly discovery: Discovery;
  readonly random: () => number;
}

/** How a device asks its own gateway for the next leaf. */
export function renewalRoad({ config, clock, log, discovery, random }: Options): AskRenewal {
  const { address } = config.gateway;
  return (request, { rootPem, identity, signal }) =>
    askAround(
      {
        fixed: address === undefined ? undefined : parseAddress(address),
        browse: (browsing) => discovery.browse('gateway', { signal: browsing }),
        expect: (gateway) => identity.role === 'device' && isOwnGateway(identity, gateway),
        ...{ rootPem, clock, log, random },
      },
      { request: async () => request, settles: async ({ answer }) => (answer.status === 'busy' ? undefined : answer) },
      signal,
    );
}
