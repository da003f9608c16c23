import type { Clock } from '../../shared/base/clock.ts';
import { RECONNECT_MAX } from '../../shared/base/limits.ts';
import type { Log } from '../../shared/base/log.ts';
import type { Discovery } from '../../shared/net/discovery.ts';
import type { Swarm } from './swarm.ts';

interface Needs {
  readonly log: Log;
  readonly clock: Clock;
  readonly signal: AbortSignal;
}

/** Hands adverts of other agents to the swarm until the signal aborts. */
export async function browsePeers(discovery: Discovery, own: string, swarm: Swarm, { log, clock, signal }: Needs): Promise<void> {
  while (!signal.aborted) {
    try {
      for await (const { type, instance, address, port } of discovery.browse('agent', { signal })) {
        if (instance === own) continue;
        if (type === 'up') swarm.advertised({ host: address, port });
        else swarm.withdrawn({ host: address, port });
      }
    } catch (error) {
      // E.g. the interface is down: multicast comes back with it.
      if (!signal.aborted) log.warn('peer.browse-failed', { error });
    }
    if (!signal.aborted) await clock.sleep(RECONNECT_MAX, { signal }).catch(() => undefined);
  }
}
